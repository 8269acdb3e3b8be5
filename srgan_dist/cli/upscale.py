"""`srgan upscale`: image files, folders and globs, upscaled with a trained generator."""

from dataclasses import dataclass
from pathlib import Path

from srgan_dist.cli.console import FAILED, join_processes
from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.distributed.precision import MixedPrecision
from srgan_dist.imaging.photo import Format


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """What is upscaled, and where it goes."""

    paths: Positional[tuple[Path, ...]]
    """Images, folders or globs, and at last the target: a file for one image, else a folder."""

    model: Path
    """A run directory, a checkpoint, an exported generator, or any .pth or .safetensors that spandrel knows."""

    at: str | None = None
    """Which checkpoint of a run directory: last, best or a step. Without it a finished run's final model, and of
    one that is not finished the last checkpoint."""

    format: Format = "png"
    """Format of the files in a target folder; a target file's extension says it itself."""

    quality: int = 95
    """Of JPEG and WebP, 1 to 100."""

    tile: int | None = None
    """Side of a tile in LR pixels, without its overlap; chosen from the free memory when not given."""

    batch: int | None = None
    """Tiles at a time; chosen likewise."""

    mixed_precision: MixedPrecision = "no"
    """What the network computes in. bf16 and fp16 are faster where the hardware has them, and up to some levels off."""

    self_ensemble: bool = False
    """Average over the eight orientations: eight times the work, a little closer to the original."""

    overwrite: bool = False
    """Also do what was done before: images whose result is there and newer than they are."""


def main(args: list[str]) -> int:
    """`srgan upscale IN [IN ...] OUT --model RUN`; returns the exit code."""
    options = parse(UpscaleOptions, args, "srgan upscale")
    processes = join_processes(options.mixed_precision)
    from srgan_dist.inference.image_files import find_jobs, upscale_files
    from srgan_dist.inference.upscaler import Upscaler
    from srgan_dist.models.files import load_generator

    jobs = find_jobs(options.paths, options.format)
    model = load_generator(options.model, options.at)
    upscaler = Upscaler(
        model.network, model.scale, processes.device, precision=processes.precision,
        tile=options.tile, batch=options.batch, self_ensemble=options.self_ensemble,
    )  # fmt: skip
    failed = upscale_files(jobs, upscaler, options.quality, options.overwrite, processes.group, processes.progress)
    return FAILED if failed else 0
