"""`srgan export`: export a trained generator for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.utils.terminal import printable, write_out
from srgan_dist.utils.usage import UsageError

if TYPE_CHECKING:
    from srgan_dist.models.files import Generator

FORMATS: dict[str, Literal["safetensors", "onnx"]] = {"safetensors": "safetensors", "onnx": "onnx"}
"""Formats by extension."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Export a trained generator for other programs, and check that the file gives the same images."""

    source: Positional[Path | None] = None
    """A run directory, a checkpoint, an exported generator, a published .pth file, or a network by its name (srgan
    upscale --help-all lists them)."""

    at: str | None = None
    """Checkpoint of a run directory: last, best or a step. By default the final model, or else the last checkpoint."""

    out: Path
    """File to write: FILE.safetensors for chaiNNer, ComfyUI and other programs based on spandrel, FILE.onnx for all
    others. Its model card is written beside it, as FILE.md."""

    format: Literal["safetensors", "onnx"] | None = None
    """Format of the file. By default, its extension decides."""

    half: bool = False
    """Store the weights in float16: half the size. The report says by how much the images differ from float32's."""

    discriminator: bool = False
    """Export the discriminator of an adversarial phase instead, for --discriminator-weights of another run."""

    interpolate: tuple[Path, Path] | None = None
    """Interpolate the weights of two generators instead: first the PSNR-oriented one, then the GAN-trained one."""

    alpha: float = 0.8
    """Weight of the second generator, 0 to 1; see ESRGAN Sec. 3.4."""

    license: str = "unknown"
    """License of the weights, as an identifier of the Hugging Face Hub: cc-by-4.0, apache-2.0, other."""

    push: str | None = None
    """Repository on the Hugging Face Hub to upload the file and its model card to: USER/NAME."""


def main(args: list[str]) -> int:
    """Run `srgan export RUN --out FILE`, and return the exit code."""
    options = parse(ExportOptions, args, "srgan export")
    _check(options)
    from srgan_dist.utils.progress import start_logging

    start_logging(first=True)
    write_out("\n".join(map(printable, export(options))) + "\n")
    return 0


def _check(options: ExportOptions) -> None:
    """Raise UsageError if the options contradict each other, before anything is loaded."""
    kind = options.out.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(
            f"--out {options.out} must end in .safetensors (for chaiNNer, ComfyUI and other programs based on "
            "spandrel) or .onnx (for all others)"
        )
    if options.format not in (None, kind):
        raise UsageError(f"--format {options.format} does not fit --out {options.out}: the extension decides")
    if not 0 <= options.alpha <= 1:
        raise UsageError(f"--alpha {options.alpha:g} must be between 0 and 1")
    extras = options.interpolate or options.push or options.half or kind == "onnx"
    if options.discriminator and (options.source is None or extras):
        raise UsageError("--discriminator needs a run directory, and is written as float32 safetensors without a card")
    if not options.discriminator and (options.source is None) == (options.interpolate is None):
        raise UsageError("name one SOURCE (a run or a file), or pass two with --interpolate A B")


def export(options: ExportOptions) -> list[str]:
    """Write the file and its model card, check the file, and return a report as lines of text.

    Raises:
        ValueError: If the two networks differ, the file does not give the same images, or the upload fails.
    """
    from srgan_dist.models.export import export_generator
    from srgan_dist.models.model_card import push

    if options.discriminator:
        return _export_discriminator(options)
    generator, source = _load(options)
    file, card, lines = export_generator(
        generator, options.out, FORMATS[options.out.suffix[1:]], options.license, source, half=options.half
    )
    return lines + ([f"uploaded: {push(options.push, file, card)}"] if options.push else [])


def _export_discriminator(options: ExportOptions) -> list[str]:
    from srgan_dist.models.discriminator_files import read_discriminator_weights, save_discriminator
    from srgan_dist.models.sources import find_model
    from srgan_dist.training.config import read_run_config

    assert options.source
    chosen = find_model(options.source, options.at) if options.at else options.source
    run = chosen.resolve().parent.parent if options.at else options.source
    config = read_run_config(run)
    if config is None:
        raise ValueError(f"--discriminator: {run} is not a run directory")
    save_discriminator(options.out, read_discriminator_weights(chosen), config.discriminator, config.data.hr_crop)
    return [f"{options.out}: {options.out.stat().st_size:,} bytes, discriminator for --discriminator-weights"]


def _load(options: ExportOptions) -> tuple["Generator", Path | None]:
    """Return the generator, and the file or checkpoint that it was loaded from."""
    from srgan_dist.models.export import interpolated
    from srgan_dist.models.files import load_generator
    from srgan_dist.models.sources import find_model

    if options.interpolate is None:
        assert options.source
        source = find_model(options.source, options.at)
        return load_generator(source), source
    return interpolated(*(load_generator(f, options.at) for f in options.interpolate), alpha=options.alpha), None
