"""`srgan upscale`: upscale image files, folders and globs with a trained generator."""

import logging
from dataclasses import dataclass
from pathlib import Path

from srgan_dist.cli.console import FAILED, join_processes
from srgan_dist.cli.parsing import HelpOptions, Positional, parse
from srgan_dist.distributed.precision import MixedPrecision
from srgan_dist.imaging.photo import Format
from srgan_dist.imaging.transparency import AlphaMethod
from srgan_dist.utils.usage import UsageError

COMMON = ("model", "at", "format", "out_scale", "tile", "self_ensemble", "recursive", "overwrite")
"""The flags that people change most, in the order of the help text."""

log = logging.getLogger("srgan_dist")


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """Upscale images with a trained generator. Outputs are written atomically."""

    paths: Positional[tuple[Path, ...]]
    """Images, folders or globs, followed by the target: a file for a single image, otherwise a folder."""

    model: Path | None = None
    """A run directory, a checkpoint, an exported generator, any .pth or .safetensors file that spandrel supports, or a
    network by its name. By default srgan-x4-small, or srgan-x2-small with --out-scale 2 or less. Part of the package:
    srgan-x4-small, srgan-x2-small, srresnet-x4-small, srresnet-x2-small. Downloaded once: RealESRGAN_x4plus,
    RealESRGAN_x2plus, RealESRNet_x4plus, RealESRGAN_x4plus_anime_6B, realesr-animevideov3, realesr-general-x4v3,
    realesr-general-wdn-x4v3."""

    at: str | None = None
    """Checkpoint of a run directory: last, best or a step. By default the final model, or else the last checkpoint."""

    format: Format = "png"
    """Format of the files in a target folder. The format of a target file is given by its extension."""

    quality: int = 95
    """Quality of JPEG and WebP, 1 to 100."""

    tile: int | None = None
    """Side of a tile in LR pixels, without its overlap. By default it is chosen from the free memory."""

    batch: int | None = None
    """Number of tiles per batch. By default it is chosen from the free memory."""

    mixed_precision: MixedPrecision = "no"
    """Precision of the network. bf16 and fp16 are faster on hardware that supports them, and differ by a few levels."""

    self_ensemble: bool = False
    """Average over eight orientations of the image: slightly higher PSNR at eight times the cost."""

    seamless: bool = False
    """For textures: continue every edge at the opposite one, so that copies of the result join without a seam."""

    recursive: bool = False
    """Also upscale the images in subfolders, into subfolders of the same names."""

    alpha: AlphaMethod = "bicubic"
    """How the alpha channel is upscaled: with bicubic interpolation, or by the network like a gray image."""

    max_pixels: int | None = None
    """Largest number of pixels of an image. By default it is as large as the free memory permits."""

    out_scale: float | None = None
    """Ratio of the result's sides to the image's, such as 3 or 2.5. By default the model's scale; for other values the
    model's result is resized with MATLAB's bicubic."""

    overwrite: bool = False
    """Also upscale images that are done, and replace files that are not their results. By default both are kept."""


def main(args: list[str]) -> int:
    """Run `srgan upscale IN [IN ...] OUT [--model MODEL]`, and return the exit code: 1 if any image failed."""
    options = parse(UpscaleOptions, args, "srgan upscale", shown=HelpOptions(common=COMMON))
    _check(options)
    processes = join_processes(options.mixed_precision)
    from srgan_dist.inference.image_files import FileOptions, upscale_files
    from srgan_dist.inference.jobs import find_jobs
    from srgan_dist.inference.records import Recipe, Records
    from srgan_dist.inference.upscaler import Upscaler
    from srgan_dist.models.files import load_generator, weights_digest

    jobs = find_jobs(options.paths, options.format, recursive=options.recursive)
    model = load_generator(options.model or _default_model(options), options.at)
    upscaler = Upscaler(
        model.network, model.scale, processes.device, precision=processes.precision,
        tile=options.tile, batch=options.batch, self_ensemble=options.self_ensemble,
        seamless=options.seamless,
    )  # fmt: skip
    pixels = {"precision": processes.precision, "self_ensemble": options.self_ensemble, "seamless": options.seamless,
              "quality": options.quality, "alpha": options.alpha}  # fmt: skip
    pixels |= {"out_scale": options.out_scale} if options.out_scale else {}
    records = Records(Recipe(model.label, weights_digest(model.network), pixels))
    files = FileOptions(options.quality, options.alpha, options.max_pixels, options.overwrite, options.out_scale)
    failed = upscale_files(jobs, upscaler, records, files, processes.group, processes.progress)
    return FAILED if failed else 0


def _default_model(options: UpscaleOptions) -> Path:
    """Return the name of the shipped network to use, and log what it is."""
    from srgan_dist.models.network_names import SHIPPED, default_network

    name = default_network(options.out_scale)
    log.info("%s: %s, x%d, part of this package; --model chooses another network (srgan upscale --help-all lists them)",
             name, SHIPPED[name].summary, SHIPPED[name].scale)  # fmt: skip
    return Path(name)


def _check(options: UpscaleOptions) -> None:
    """Raise UsageError if a value is not valid for any image."""
    if len(options.paths) < 2:
        raise UsageError("the target is missing: srgan upscale IN [IN ...] OUT")
    if options.out_scale is not None and options.out_scale <= 0:
        raise UsageError(f"--out-scale {options.out_scale:g} must be positive, such as 3 or 2.5")
    if not 1 <= options.quality <= 100:
        raise UsageError(f"--quality {options.quality} must be between 1 and 100")
    for flag, value in (("tile", options.tile), ("batch", options.batch), ("max-pixels", options.max_pixels)):
        if value is not None and value < 1:
            raise UsageError(f"--{flag} {value} must be at least 1")
