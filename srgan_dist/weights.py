"""Weights from anywhere: our runs, checkpoints and exported files, and the field's .pth files."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from srgan_dist import checkpoint
from srgan_dist.models.layouts import fit, unwrapped

HEADER = "srgan_dist"
"""Where our own notes stand in a safetensors header."""


def load_weights(network: nn.Module, source: Path) -> None:
    """Loads a generator's weights, wherever they are, under any of their published names.

    Raises:
        ValueError: nothing there, not a weights file, or another network's (see `layouts.fit`).
    """
    fit(network, read_weights(source), str(source))


def read_weights(source: Path) -> dict[str, Tensor]:
    """The parameters in a file, in a checkpoint directory (the moving average), or of a run's final model.

    Raises:
        ValueError: nothing there, or not a weights file.
    """
    if (source / checkpoint.COMPLETE).is_file():
        return unwrapped(checkpoint.load(source)["players"]["ema"]["network"])
    file = final_model(source) if source.is_dir() else source
    if not file.is_file():
        raise ValueError(f"{file}: there is no such model file or run directory")
    return _read_safetensors(file) if file.suffix == ".safetensors" else unwrapped(_read_torch(file))


def read_notes(file: Path) -> dict[str, Any] | None:
    """What this program wrote into a safetensors header; None for other programs' files.

    Raises:
        ValueError: not a safetensors file.
    """
    if file.suffix != ".safetensors":
        return None
    try:
        with safe_open(file, "pt") as content:
            header = (content.metadata() or {}).get(HEADER)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({error})") from None
    return json.loads(header) if header else None


def final_model(run: Path) -> Path:
    """The latest model of a run directory.

    Raises:
        ValueError: there is none.
    """
    models = run / "models"
    files = sorted(models.glob("*.safetensors"), key=lambda f: f.stat().st_mtime) if models.is_dir() else []
    if not files:
        raise ValueError(f"{run}: no finished model here (looked for models/*.safetensors)")
    return files[-1]


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return unwrapped(load_file(file))
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({error})") from None


def _read_torch(file: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickles, which are then refused anyway
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a file that is not one of its own
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it holds code, {code[1]}, which is not run" if code else "PyTorch cannot read it"
        raise ValueError(f"{file}: not a file of weights ({reason})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: holds a {type(content).__name__}, not weights by name")
    return content  # pyright: ignore[reportUnknownVariableType]
