"""Export of generators for other programs. Exported files are opened again and checked."""

import importlib.util
import json
import re
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
"""The only number of growth channels of RRDBNet that spandrel supports."""

_PLACES = frozenset({"run_dir", "shards", "stream", "cache", "weights", "file", "command", "folder", "host"})
"""Names of notes whose text is a path, an address or a name of the machine."""

Format = Literal["safetensors", "onnx"]


class Exported(NamedTuple):
    """The files that an export has written."""

    file: Path
    """The model file."""
    card: Path
    """The model card, in Markdown."""
    lines: list[str]
    """A report as lines of text: sizes, and which programs open the file."""


def export_generator(generator: Generator, out: Path, kind: Format, license: str, source: Path | None) -> Exported:
    """Write a generator and its model card, and check that the file gives the same images.

    Args:
        generator: The generator to export.
        out: The file to write. The model card gets the same name with the extension .md.
        kind: The file format.
        license: License of the weights, as an identifier of the Hugging Face Hub.
        source: Where the generator was loaded from. If it belongs to a run, the file's header receives the run's
            configuration and evaluation.

    Raises:
        ValueError: If the file cannot be written, a package is missing, or the file does not give the same images.
    """
    if out.suffix != f".{kind}":
        raise ValueError(f"{out}: a file of the format {kind} must end in .{kind}; --format onnx writes ONNX")
    notes = _notes(generator, out, license, source)
    if kind == "onnx":
        worst = save_onnx(out, generator.network)
        opened = f"ONNX for any height and width; onnxruntime differs from PyTorch by at most {worst:.1e}."
    else:
        with output_errors(out), atomic_path(out, out.suffix) as partial:  # spandrel detects the format by the suffix
            save_generator(partial, generator.network, _config(generator, source or out), notes)
            opened = _check_safetensors(partial, generator)
    card = out.with_suffix(".md")
    with output_errors(card):
        write_text(model_card(out.stem, out, notes, opened), card)
    size = f"{out}: {out.stat().st_size:,} bytes, x{generator.scale}"
    return Exported(out, card, [size, opened, f"{card}: model card"])


def interpolated(first: Generator, second: Generator, alpha: float) -> Generator:
    """Return (1 - alpha) * first + alpha * second for every weight, including BatchNorm's statistics.

    Paper: ESRGAN Sec. 3.4. The result reuses the network of `second`, whose weights are overwritten.

    Args:
        first: The PSNR-oriented generator.
        second: The GAN-trained generator.
        alpha: Weight of the second generator.

    Raises:
        ValueError: If the two networks do not have the same scale, parameters and shapes.
    """
    one, other = first.network.state_dict(), second.network.state_dict()
    if first.scale != second.scale or {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in other.items()}:
        raise ValueError(
            f"--interpolate needs two generators with the same network: {first.label} is {first.config} "
            f"at x{first.scale}, {second.label} is {second.config} at x{second.scale}"
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
    return _publishable(own | _from_run(source)) | about | {"generator": to_dict(architecture(config), GeneratorConfig)}


def _publishable(notes: dict[str, Any]) -> dict[str, Any]:
    """Return notes without paths, addresses and names of the machine they were made on: the file may be published."""
    return {name: kept for name, value in notes.items() if (kept := _without_places(name, value)) is not None}


def _without_places(name: str, value: Any) -> Any:
    """Return a value of the notes without paths and addresses; None if nothing of it may be published."""
    if isinstance(value, dict):
        return None if name == "tracking" else _publishable(value)
    if isinstance(value, list):
        return [v for v in value if _without_places(name, v) is not None]
    if isinstance(value, str) and (name in _PLACES or re.search(r"[/\\]|^pipe:", value)):
        return None
    return value


def _from_run(source: Path | None) -> dict[str, Any]:
    """Return the configuration and evaluation of the run that a model belongs to; empty if it belongs to none."""
    run = source if source and source.is_dir() else source.parent.parent if source else None
    found: dict[str, Any] = {}
    if run and (run / "config.json").is_file():
        found["training"] = json.loads((run / "config.json").read_text())
    if run and (run / "evaluation.json").is_file():
        evaluation: Mapping[str, Any] = json.loads((run / "evaluation.json").read_text())
        found |= {"metrics": evaluation["means"], "protocol": evaluation["protocol"]}
    return found


def _check_safetensors(file: Path, generator: Generator) -> str:
    """Open the file with spandrel, compare its images, and return a sentence about which programs open it."""
    needs_plugin = isinstance(generator.config, SRResNetConfig)
    known = (
        "spandrel (chaiNNer, ComfyUI) does not support SRResNet: export it with --format onnx, or call "
        "srgan_dist.models.spandrel_plugin.register() in a Python program before spandrel opens the file."
        if needs_plugin
        else "Opens in all programs based on spandrel (chaiNNer, ComfyUI)."
    )
    if isinstance(generator.config, RRDBNetConfig) and generator.config.growth_channels != _SPANDREL_GROWTH:
        growth = generator.config.growth_channels
        return f"spandrel (chaiNNer, ComfyUI) supports only RRDBNet with growth_channels=32, not {growth}: export ONNX."
    if importlib.util.find_spec("spandrel") is None:
        return f"{known} Not checked, because spandrel is not installed: pip install 'srgan-dist[spandrel]'"
    worst = _spandrel_difference(file, generator, needs_plugin)
    if worst is None:
        return f"spandrel (chaiNNer, ComfyUI) does not support {type(generator.network).__name__}: export it as ONNX."
    if worst != 0:
        raise ValueError(
            f"{file}: spandrel's images differ from this package's by {worst:.1e}; the file was not written"
        )
    return f"{known} Checked with spandrel: largest difference 0."


def _spandrel_difference(file: Path, generator: Generator, needs_plugin: bool) -> float | None:
    import spandrel

    if needs_plugin:
        register()
    try:
        opened = spandrel.ModelLoader(device="cpu").load_from_file(file)
    except spandrel.UnsupportedModelError:
        return None
    if opened.scale != generator.scale:
        raise ValueError(f"{file}: spandrel opens it as x{opened.scale}, but it is x{generator.scale}")
    return difference(opened.model.eval(), generator.network, sizes=((24, 20), (32, 48), (16, 52)))
