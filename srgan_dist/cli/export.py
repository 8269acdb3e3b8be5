"""`srgan export`: a trained generator as a file that other programs open."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from srgan_dist.cli.parsing import Positional, parse

if TYPE_CHECKING:
    from srgan_dist.models.files import Generator


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported, and as what."""

    source: Positional[Path | None] = None
    """A run directory, an exported file, or a published .pth."""

    at: str | None = None
    """Which checkpoint of a run directory: last, best or a step. Without it a finished run's final model, and of
    one that is not finished the last checkpoint."""

    out: Path
    """The file to write; its model card lands beside it as .md."""

    format: Literal["safetensors", "onnx"] = "safetensors"
    """safetensors for chaiNNer, ComfyUI and everything on spandrel; onnx for everything else."""

    interpolate: tuple[Path, Path] | None = None
    """Instead of one source: mix two generators of the same kind, first the PSNR one, then the GAN one."""

    alpha: float = 0.8
    """What the second one counts: ESRGAN Sec. 3.4."""

    license: str = "unknown"
    """The weights' license, by the Hub's identifier: cc-by-4.0, apache-2.0, other."""

    push: str | None = None
    """Upload file and model card to this Hugging Face repository: USER/NAME."""


def main(args: list[str]) -> int:
    """`srgan export RUN --out FILE`; returns the exit code."""
    options = parse(ExportOptions, args, "srgan export")
    from srgan_dist.utils.progress import start_logging

    start_logging(first=True)
    sys.stdout.write("\n".join(export(options)) + "\n")
    return 0


def export(options: ExportOptions) -> list[str]:
    """Writes the file and its card, checks it, and returns what there is to say, a line each.

    Raises:
        ValueError: nothing to export, two generators that do not fit, or a file that does not give the same images.
    """
    from srgan_dist.models.export import export_generator
    from srgan_dist.models.model_card import push

    generator = _chosen(options)
    file, card, lines = export_generator(generator, options.out, options.format, options.license, options.source)
    return lines + ([f"uploaded: {push(options.push, file, card)}"] if options.push else [])


def _chosen(options: ExportOptions) -> "Generator":
    from srgan_dist.models.export import interpolated
    from srgan_dist.models.files import load_generator

    if (options.source is None) == (options.interpolate is None):
        raise ValueError("name one source (a run or a file), or two with --interpolate A B")
    if options.interpolate is None:
        assert options.source
        return load_generator(options.source, options.at)
    return interpolated(*(load_generator(f) for f in options.interpolate), alpha=options.alpha)
