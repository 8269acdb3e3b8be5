"""Generators as files: safetensors with everything in the header that is needed to build the network again."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from srgan_dist.config import from_dict, to_dict
from srgan_dist.models import GeneratorConfig

_HEADER = "srgan_dist"


class Generator(NamedTuple):
    """A network that was read from a file, in eval mode on the CPU."""

    network: nn.Module
    label: str
    scale: int
    degradation: str
    """The kernel that made the LR images it was trained on."""


def save_generator(file: Path, network: nn.Module, config: GeneratorConfig, notes: dict[str, Any]) -> None:
    """Writes the weights (contiguous, without wrapper prefixes) with config and notes; whole or not at all.

    Args:
        notes: `label`, `scale` and `degradation`; see `Generator`.
    """
    header = {_HEADER: json.dumps({"generator": to_dict(config)} | notes), "format": "pt"}
    weights = {name: t.detach().contiguous().cpu() for name, t in network.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    save_file(weights, partial, metadata=header)
    os.replace(partial, file)


def load_generator(source: Path) -> Generator:
    """The generator in a file, or the final one of a run directory.

    Raises:
        ValueError: no such file or run, or a file that this program did not write.
    """
    file = _final(source) if source.is_dir() else source
    if not file.is_file():
        raise ValueError(f"{file}: there is no such model file or run directory")
    try:
        with safe_open(file, "pt") as content:
            header = (content.metadata() or {}).get(_HEADER)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({error})") from None
    if header is None:
        raise ValueError(f"{file}: safetensors, but not written by srgan_dist (no {_HEADER!r} in its header)")
    notes = json.loads(header)
    network = from_dict(GeneratorConfig, notes["generator"]).build(notes["scale"])
    network.load_state_dict(load_file(file))
    return Generator(network.eval().requires_grad_(False), notes["label"], notes["scale"], notes["degradation"])


def _final(run: Path) -> Path:
    models = run / "models"
    files = sorted(models.glob("*.safetensors"), key=lambda f: f.stat().st_mtime) if models.is_dir() else []
    if not files:
        raise ValueError(f"{run}: no finished model here (looked for models/*.safetensors)")
    return files[-1]
