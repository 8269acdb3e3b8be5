"""Generators as files for other programs, checked before anybody relies on them."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from srgan_dist.models import GeneratorConfig, RRDBNetConfig, SpandrelConfig, SRResNetConfig, architecture
from srgan_dist.models.files import Generator, save_generator
from srgan_dist.models.model_card import model_card
from srgan_dist.models.onnx_export import difference, save_onnx
from srgan_dist.models.spandrel_plugin import register
from srgan_dist.utils.files import atomic_path, output_errors, write_text
from srgan_dist.utils.serialization import to_dict

_SPANDREL_GROWTH = 32

Format = Literal["safetensors", "onnx"]


class Exported(NamedTuple):
    """What an export has written."""

    file: Path
    card: Path
    lines: list[str]
    """What there is to say about it."""


def export_generator(generator: Generator, out: Path, kind: Format, license: str, source: Path | None) -> Exported:
    """Write a generator and its model card, and check that the file gives the same images.

    Args:
        license: of the weights, by the Hub's identifier.
        source: where the generator comes from; a run's configuration and evaluation go into the file.

    Raises:
        ValueError: the file does not give the same images.
    """
    notes = _notes(generator, out, license, source)
    if kind == "onnx":
        worst = save_onnx(out, generator.network)
        opened = f"ONNX for any height and width; onnxruntime differs from PyTorch by at most {worst:.1e}."
    else:
        with output_errors(out), atomic_path(out, out.suffix) as partial:  # spandrel goes by the suffix
            save_generator(partial, generator.network, _config(generator, source or out), notes)
            opened = _check_safetensors(partial, generator)
    card = out.with_suffix(".md")
    with output_errors(card):
        write_text(model_card(out.stem, out, notes, opened), card)
    size = f"{out}: {out.stat().st_size:,} bytes, x{generator.scale}"
    return Exported(out, card, [size, opened, f"{card}: model card"])


def interpolated(first: Generator, second: Generator, alpha: float) -> Generator:
    """(1 - alpha) first + alpha second, weight by weight, BatchNorm's statistics too. Paper: ESRGAN Sec. 3.4.

    Raises:
        ValueError: the two are not the same network.
    """
    one, other = first.network.state_dict(), second.network.state_dict()
    if first.scale != second.scale or {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in other.items()}:
        raise ValueError(
            f"--interpolate needs two of the same network: {first.label} is {first.config} at x{first.scale}, "
            f"{second.label} is {second.config} at x{second.scale}"
        )
    mixed = {k: torch.lerp(v, other[k], alpha) if v.is_floating_point() else v for k, v in one.items()}
    second.network.load_state_dict(mixed)
    label = f"{first.label} + {alpha:g} ({second.label} - {first.label})"
    return second._replace(label=label, notes={k: v for k, v in second.notes.items() if k != "metrics"})


def _config(generator: Generator, file: Path) -> GeneratorConfig:
    return generator.config or SpandrelConfig(file=file)


def _notes(generator: Generator, out: Path, license: str, source: Path | None) -> dict[str, Any]:
    config = _config(generator, source or out)
    about = {
        "label": generator.label,
        "scale": generator.scale,
        "degradation": generator.degradation,
        "architecture": type(generator.network).__name__,
        "parameters": sum(p.numel() for p in generator.network.parameters()),
        "license": license,
    }
    own = {k: v for k, v in generator.notes.items() if k != "generator"}
    return own | about | _from_run(source) | {"generator": to_dict(architecture(config), GeneratorConfig)}


def _from_run(source: Path | None) -> dict[str, Any]:
    """Configuration and evaluation of the run that a model belongs to, where it lies in one."""
    run = source if source and source.is_dir() else source.parent.parent if source else None
    found: dict[str, Any] = {}
    if run and (run / "config.json").is_file():
        found["training"] = json.loads((run / "config.json").read_text())
    if run and (run / "evaluation.json").is_file():
        judged: Mapping[str, Any] = json.loads((run / "evaluation.json").read_text())
        found |= {"metrics": judged["means"], "protocol": judged["protocol"]}
    return found


def _check_safetensors(file: Path, generator: Generator) -> str:
    """Opens the file with spandrel and compares images; says who opens it."""
    ours = isinstance(generator.config, SRResNetConfig)
    known = (
        "spandrel (chaiNNer, ComfyUI) does not know SRResNet: export it with --format onnx, or call "
        "srgan_dist.models.spandrel_plugin.register() in a Python program, where spandrel then opens it."
        if ours
        else "Opens in everything on spandrel (chaiNNer, ComfyUI)."
    )
    if isinstance(generator.config, RRDBNetConfig) and generator.config.growth_channels != _SPANDREL_GROWTH:
        growth = generator.config.growth_channels
        return f"spandrel (chaiNNer, ComfyUI) knows RRDBNet with growth_channels=32 only, this has {growth}: use ONNX."
    if importlib.util.find_spec("spandrel") is None:
        return f"{known} Not checked here: pip install 'srgan-dist[spandrel]'"
    worst = _spandrel_difference(file, generator, ours)
    if worst is None:
        return f"spandrel (chaiNNer, ComfyUI) does not know {type(generator.network).__name__}: export it as ONNX."
    if worst != 0:
        raise ValueError(f"{file}: spandrel's images differ from ours by {worst:.1e}; this file is not to be trusted")
    return f"{known} Checked with spandrel: largest difference 0."


def _spandrel_difference(file: Path, generator: Generator, ours: bool) -> float | None:
    import spandrel

    if ours:
        register()
    try:
        opened = spandrel.ModelLoader(device="cpu").load_from_file(file)
    except spandrel.UnsupportedModelError:
        return None
    if opened.scale != generator.scale:
        raise ValueError(f"{file}: spandrel takes it for x{opened.scale}, it is x{generator.scale}")
    return difference(opened.model.eval(), generator.network, sizes=((24, 20), (32, 48), (16, 52)))
