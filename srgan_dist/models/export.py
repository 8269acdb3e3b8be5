"""Export of generators for other programs. Exported files are opened again and checked."""

import copy
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from srgan_dist.models import (
    GeneratorConfig,
    LightEDSRConfig,
    RRDBNetConfig,
    SpandrelConfig,
    SRResNetConfig,
    architecture,
)
from srgan_dist.models.files import UNKNOWN, Generator, save_generator
from srgan_dist.models.model_card import model_card
from srgan_dist.models.onnx_export import difference, save_onnx
from srgan_dist.models.spandrel_plugin import register
from srgan_dist.runs.run_dir import CONFIG
from srgan_dist.utils.files import atomic_path, output_errors, write_text
from srgan_dist.utils.serialization import to_dict

_SPANDREL_GROWTH = 32
"""The only number of growth channels of RRDBNet that spandrel supports."""
_SIZES = ((24, 20), (32, 48), (16, 52))
"""Heights and widths of the LR images that are compared."""

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


def export_generator(
    generator: Generator, out: Path, kind: Format, license: str, source: Path | None, half: bool = False
) -> Exported:
    """Write a generator and its model card, and check that the file gives the same images.

    Args:
        generator: The generator to export.
        out: The file to write. The model card gets the same name with .md appended.
        kind: The file format.
        license: License of the weights, as an identifier of the Hugging Face Hub.
        source: The file or checkpoint directory that the generator was loaded from. If it belongs to a run, the file's
            header receives the run's configuration, and its evaluation if that evaluated this very file.
        half: Store the weights in float16. The largest difference from float32 is reported.

    Raises:
        ValueError: If the file cannot be written, a package is missing, the weights or images are not finite, or the
            file does not give the same images.
    """
    if out.suffix != f".{kind}":
        raise ValueError(f"{out}: a file of the format {kind} must end in .{kind}; --format onnx writes ONNX")
    _check_finite(generator.network, f"{generator.label} cannot be exported")
    notes = _notes(generator, out, license, source) | ({"dtype": "float16"} if half else {})
    network, opened = generator.network, ""
    if half:
        network, opened = _rounded_to_half(generator, out)
    if kind == "onnx":
        worst = save_onnx(out, network, half)
        opened += f"ONNX for any height and width; onnxruntime differs from PyTorch by at most {worst:.1e}."
    else:
        with output_errors(out), atomic_path(out, out.suffix) as partial:  # spandrel detects the format by the suffix
            stored = copy.deepcopy(network).half() if half else network
            save_generator(partial, stored, _config(generator, source or out), notes)
            opened += _check_safetensors(partial, out, generator._replace(network=network))
    card = out.with_name(f"{out.name}.md")
    with output_errors(card):
        write_text(model_card(out.stem, out, notes, opened), card)
    size = f"{out}: {out.stat().st_size:,} bytes, x{generator.scale}"
    return Exported(out, card, [size, opened, f"{card}: model card"])


def interpolated(first: Generator, second: Generator, alpha: float) -> Generator:
    """Return (1 - alpha) * first + alpha * second for every weight, including BatchNorm's statistics.

    Paper: ESRGAN Sec. 3.4. Both generators are left unchanged.

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
    network = copy.deepcopy(second.network)
    network.load_state_dict(mixed)
    label = f"{first.label} + {alpha:g} ({second.label} - {first.label})"
    notes = {k: v for k, v in second.notes.items() if k not in ("metrics", "protocol", "data_name")}
    origin = f"interpolated with srgan_dist between {first.label} and {second.label}"
    return second._replace(network=network, label=label, notes=notes | {"origin": origin})


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
    own = {k: v for k, v in generator.notes.items() if k not in ("generator", "dtype")}
    run = _from_run(generator, source) if source and _is_ours(generator, source) else {}
    origin = _origin(generator, run.get("training") or own.get("training"), source)
    kept = _publishable(own) | about | _publishable(run)
    return kept | {"generator": to_dict(architecture(config), GeneratorConfig), "origin": origin}


def _publishable(notes: Mapping[str, Any]) -> dict[str, Any]:
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


def _is_ours(generator: Generator, source: Path) -> bool:
    """Return whether a generator is from a run of this package: a checkpoint, or a file that a run has written.

    Converted files have this package's header, too, but no degradation and no configuration of a run.
    """
    converted = generator.degradation == UNKNOWN and "training" not in generator.notes
    return source.is_dir() or (bool(generator.notes) and not converted)


def _origin(generator: Generator, training: Mapping[str, Any] | None, source: Path | None) -> str:
    """Return where the weights come from, as the end of the sentence "A super-resolution network, ..."."""
    if isinstance(kept := _without_places("origin", generator.notes.get("origin")), str):
        return kept
    if source and not _is_ours(generator, source):
        return f"converted from {source.name}"
    start = (training or {}).get("weights")
    return f"fine-tuned with srgan_dist from {Path(start).name}" if start else "trained with srgan_dist"


def _from_run(generator: Generator, source: Path) -> dict[str, Any]:
    """Return the configuration of the run that a model belongs to, and the evaluation if it evaluated this model.

    Args:
        generator: The model.
        source: RUN/checkpoints/STEP or RUN/models/NAME.safetensors; anything else belongs to no run.
    """
    run, found = source.resolve().parent.parent, dict[str, Any]()
    if source.resolve().parent.name not in ("checkpoints", "models"):
        return found
    if (run / CONFIG).is_file():
        found["training"] = json.loads((run / CONFIG).read_text("utf-8"))
    if (run / "evaluation.json").is_file():
        evaluation: Mapping[str, Any] = json.loads((run / "evaluation.json").read_text("utf-8"))
        if generator.label in evaluation["means"]:  # not a checkpoint, whose label contains its step
            found |= {"metrics": evaluation["means"], "protocol": evaluation["protocol"]}
            rows = evaluation.get("rows", [])
            found |= {"data_name": rows[0]["data"]} if rows else {}
    return found


def _check_finite(network: nn.Module, problem: str) -> None:
    """Raise ValueError if weights are NaN or infinite."""
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{problem}: {name} contains NaN or infinity")


def _rounded_to_half(generator: Generator, out: Path) -> tuple[nn.Module, str]:
    """Return the network with weights rounded to float16, in float32, and a sentence about its error.

    Raises:
        ValueError: If the weights, or images that are computed in float16, are not finite.
    """
    half = copy.deepcopy(generator.network).half()
    problem = f"{out}: --half is not possible, because float16 ends at 65504"
    _check_finite(half, problem)
    rounded = copy.deepcopy(half).float()

    def run_in_half(lr: Tensor) -> Tensor:
        sr = half(lr.half()).float()
        if not sr.isfinite().all():
            raise ValueError(f"{problem}: the images that it computes in float16 contain NaN or infinity")
        return sr

    stored = difference(rounded, generator.network, _SIZES)
    computed = difference(run_in_half, generator.network, _SIZES)
    return rounded, (
        f"float16 weights: images differ from float32's by at most {_levels(stored)} if they are computed in float32, "
        f"and by {_levels(computed)} if they are computed in float16. "
    )


def _levels(value: float) -> str:
    return f"{value:.1e} ({255 * value:.2g} levels of 255)"


def _check_safetensors(file: Path, out: Path, generator: Generator) -> str:
    """Open the file with spandrel, compare its images, and return a sentence about which programs open it.

    Args:
        file: The file, under its temporary name.
        out: Its final name, for messages.
        generator: The generator that the file must be equal to.
    """
    needs_plugin = isinstance(generator.config, SRResNetConfig | LightEDSRConfig)
    known = (
        f"spandrel (chaiNNer, ComfyUI) does not support {type(generator.network).__name__}: export it with "
        "--format onnx, or call srgan_dist.models.spandrel_plugin.register() in a Python program before spandrel opens "
        "the file."
        if needs_plugin
        else "Opens in all programs based on spandrel (chaiNNer, ComfyUI)."
    )
    if isinstance(generator.config, RRDBNetConfig) and generator.config.growth_channels != _SPANDREL_GROWTH:
        growth = generator.config.growth_channels
        return f"spandrel (chaiNNer, ComfyUI) supports only RRDBNet with growth_channels=32, not {growth}: export ONNX."
    if importlib.util.find_spec("spandrel") is None:
        return f"{known} Not checked, because spandrel is not installed: pip install 'srgan-dist[spandrel]'"
    worst = _spandrel_difference(file, out, generator, needs_plugin)
    if worst is None:
        return f"spandrel (chaiNNer, ComfyUI) does not support {type(generator.network).__name__}: export it as ONNX."
    if worst != 0:
        raise ValueError(
            f"{out}: spandrel's images differ from this package's by {worst:.1e}; the file was not written"
        )
    return f"{known} Checked with spandrel: largest difference 0."


def _spandrel_difference(file: Path, out: Path, generator: Generator, needs_plugin: bool) -> float | None:
    import spandrel

    if needs_plugin:
        register()
    try:
        opened = spandrel.ModelLoader(device="cpu").load_from_file(file)
    except spandrel.UnsupportedModelError:
        return None
    if opened.scale != generator.scale:
        raise ValueError(f"{out}: spandrel opens it as x{opened.scale}, but it is x{generator.scale}")
    return difference(opened.model.eval().float(), generator.network, _SIZES)
