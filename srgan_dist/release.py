"""`srgan export`: a trained generator as a file that the world opens, checked before anybody relies on it."""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from srgan_dist.config import Positional, to_dict
from srgan_dist.export import Generator, save_generator
from srgan_dist.foreign import open_generator
from srgan_dist.modelcard import model_card, push
from srgan_dist.models import GeneratorConfig, RRDBNetConfig, SpandrelConfig, SRResNetConfig, architecture
from srgan_dist.onnx_file import difference, save_onnx

_SPANDREL_GROWTH = 32


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported, and as what."""

    source: Positional[Path | None] = None
    """A run directory, an exported file, or a published .pth."""

    out: Path
    """The file to write; its model card lands beside it as .md."""

    format: Literal["safetensors", "onnx"] = "safetensors"
    """safetensors for chaiNNer, ComfyUI and everything on spandrel; onnx for everything else."""

    interpolate: tuple[Path, Path] | None = None
    """Instead of one source: mix two generators of the same kind, first the PSNR one, then the GAN one."""

    alpha: float = 0.8
    """What the second one counts: ESRGAN Sec. 3.4."""

    license: str = "unknown"
    """The weights' licence, by the Hub's identifier: cc-by-4.0, apache-2.0, other."""

    push: str | None = None
    """Upload file and model card to this Hugging Face repository: USER/NAME."""


def export(options: ExportOptions) -> list[str]:
    """Writes the file and its card, checks it, and returns what there is to say, a line each.

    Raises:
        ValueError: nothing to export, two generators that do not fit, or a file that does not give the same pictures.
    """
    generator = _chosen(options)
    notes = _notes(generator, options)
    if options.format == "onnx":
        worst = save_onnx(options.out, generator.network)
        opened = f"ONNX for any height and width; onnxruntime differs from PyTorch by at most {worst:.1e}."
    else:
        save_generator(options.out, generator.network, _config(generator, options), notes)
        opened = _check_safetensors(options.out, generator)
    card = options.out.with_suffix(".md")
    card.write_text(model_card(options.out.stem, options.out, notes, opened))
    lines = [f"{options.out}: {options.out.stat().st_size:,} bytes, x{generator.scale}", opened, f"{card}: model card"]
    return lines + ([f"uploaded: {push(options.push, options.out, card)}"] if options.push else [])


def _chosen(options: ExportOptions) -> Generator:
    if (options.source is None) == (options.interpolate is None):
        raise ValueError("name one source (a run or a file), or two with --interpolate A B")
    if options.interpolate is None:
        assert options.source
        return open_generator(options.source)
    return interpolated(*(open_generator(f) for f in options.interpolate), alpha=options.alpha)


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


def _config(generator: Generator, options: ExportOptions) -> GeneratorConfig:
    return generator.config or SpandrelConfig(file=options.source or options.out)


def _notes(generator: Generator, options: ExportOptions) -> dict[str, Any]:
    config = _config(generator, options)
    about = {
        "label": generator.label,
        "scale": generator.scale,
        "degradation": generator.degradation,
        "architecture": type(generator.network).__name__,
        "parameters": sum(p.numel() for p in generator.network.parameters()),
        "license": options.license,
    }
    own = {k: v for k, v in generator.notes.items() if k != "generator"}
    return own | about | _from_run(options.source) | {"generator": to_dict(architecture(config), GeneratorConfig)}


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
    """Opens the file with spandrel and compares pictures; says who opens it."""
    ours = isinstance(generator.config, SRResNetConfig)
    known = (
        "spandrel (chaiNNer, ComfyUI) does not know SRResNet: export it with --format onnx, or call "
        "srgan_dist.spandrel_srresnet.register() in a Python program, where spandrel then opens it."
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
        raise ValueError(f"{file}: spandrel's pictures differ from ours by {worst:.1e}; this file is not to be trusted")
    return f"{known} Checked with spandrel: largest difference 0."


def _spandrel_difference(file: Path, generator: Generator, ours: bool) -> float | None:
    import spandrel

    if ours:
        from srgan_dist.spandrel_srresnet import register

        register()
    try:
        opened = spandrel.ModelLoader(device="cpu").load_from_file(file)
    except spandrel.UnsupportedModelError:
        return None
    if opened.scale != generator.scale:
        raise ValueError(f"{file}: spandrel takes it for x{opened.scale}, it is x{generator.scale}")
    return difference(opened.model.eval(), generator.network, sizes=((24, 20), (32, 48), (16, 52)))
