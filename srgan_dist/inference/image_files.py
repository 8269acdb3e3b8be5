"""Upscaling of image files with a trained generator: single files, folders and globs."""

import logging
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from srgan_dist.distributed.group import Group, ProgressFn
from srgan_dist.imaging.photo import (
    FORMATS,
    Photo,
    check_target,
    read_photo,
    write_photo,
)
from srgan_dist.imaging.resize import imresize, resized_side
from srgan_dist.imaging.transparency import AlphaMethod, spread_colors, upscale_alpha
from srgan_dist.inference.jobs import VIDEOS, Job
from srgan_dist.inference.records import Records, look_at
from srgan_dist.inference.upscaler import Image, NonFiniteError, Upscaler
from srgan_dist.utils.files import atomic_path, output_errors
from srgan_dist.utils.memory import free_bytes

log = logging.getLogger("srgan_dist")

_ALPHA_EDGE = 4
"""Pixels by which the alpha channel of a texture is continued; bicubic interpolation reads two."""


class FileOptions(NamedTuple):
    """How image files are read and written."""

    quality: int = 95
    """Quality of JPEG and WebP, 1 to 100."""
    alpha: AlphaMethod = "bicubic"
    """How the alpha channel is upscaled: with bicubic interpolation, or by the network like a gray image."""
    max_pixels: int | None = None
    """Largest number of pixels of an image; None for as many as the free memory can hold."""
    overwrite: bool = False
    """Whether to upscale images that are done, too, and to replace files that were not made from them."""
    out_scale: float | None = None
    """Ratio of the result's sides to the image's; None for the network's scale. Otherwise the network's result is
    resized by MATLAB's rule."""


class Outcome(NamedTuple):
    """Numbers of images that a process upscaled, could not upscale, and skipped."""

    done: int
    failed: int
    skipped: int


def upscale_files(
    jobs: list[Job], upscaler: Upscaler, records: Records, options: FileOptions, group: Group, progress: ProgressFn
) -> int:
    """Upscale image files, and return the number of files that failed on any process. The log names each of them.

    Args:
        jobs: The image files; the same list on every process.
        upscaler: Upscales the images.
        records: The records of earlier results.
        options: How the files are read and written.
        group: The processes that share the files.
        progress: Wraps the files, for a progress bar.
    """
    started = time.monotonic()
    outcome = _upscale_all(jobs[group.rank :: group.size], upscaler, records, options, progress)
    done, failed, skipped = np.sum(group.gather([outcome]), axis=0).tolist()
    seconds = time.monotonic() - started
    log.info(
        "%d of %d images upscaled in %.1f s (%.3g images/s), %d failed, %d skipped because they are up to date",
        done, len(jobs), seconds, done / seconds, failed, skipped,
    )  # fmt: skip
    return failed


def _upscale_all(
    jobs: list[Job], upscaler: Upscaler, records: Records, options: FileOptions, progress: ProgressFn
) -> Outcome:
    outcomes: Counter[str] = Counter()
    for job in progress(jobs, "upscaling"):
        try:
            if not options.overwrite and _is_done(job, records):
                outcomes["skipped"] += 1
                continue
            upscale_file(job, upscaler, records, options, progress)
            outcomes["done"] += 1
        except NonFiniteError as error:
            log.error("%s: %s %s; nothing was written", job.source, records.recipe.model, error.reason)
            outcomes["failed"] += 1
        except ValueError as error:
            log.error("%s", error)
            outcomes["failed"] += 1
    return Outcome(outcomes["done"], outcomes["failed"], outcomes["skipped"])


def _is_done(job: Job, records: Records) -> bool:
    with output_errors(job.target):
        try:
            return records.is_done(job.source, job.target)
        except ValueError as error:
            if not job.is_named:
                raise
            log.warning("%s is replaced; before: %s", job.target, str(error).split("; choose")[0])
            return False


def upscale_file(job: Job, upscaler: Upscaler, records: Records, options: FileOptions, progress: ProgressFn) -> None:
    """Upscale one image file. The result is written atomically and recorded.

    Args:
        job: The image file, and the file to write.
        upscaler: Upscales the image.
        records: Receive the result.
        options: How the files are read and written.
        progress: Wraps the batches of tiles, for a progress bar.

    Raises:
        ValueError: If the image cannot be read, the network returns NaN or infinite values for it, or the result
            cannot be written or does not fit in memory.
    """
    if job.source.suffix.lower() in VIDEOS:
        raise ValueError(
            f"{job.source}: videos are not supported; extract the frames with ffmpeg and pass their folder"
        )
    started, seen, s = time.monotonic(), look_at(job.source), upscaler.scale
    photo = read_photo(job.source, options.max_pixels)
    factor = options.out_scale / s if options.out_scale else 1.0
    height, width = (resized_side(n * s, factor) for n in photo.pixels.shape[:2])
    check_target(job.target, height, width)
    _check_memory(job.source, photo, s, height, width)
    with output_errors(job.target), atomic_path(job.target) as partial:
        with partial.open("wb") as out:
            image = _upscale(photo, upscaler, options.alpha, progress)
            image = imresize(image, factor, "wrap" if upscaler.seamless else "mirror")
            write_photo(image, photo, out, FORMATS[job.target.suffix.lower()], options.quality)
        records.add(partial, job.source, job.target, seen)
    seconds = time.monotonic() - started
    log.info(
        "%s: %dx%d to %dx%d in %.1f s, %.3g megapixels/s%s",
        job.target, *photo.pixels.shape[1::-1], width, height, seconds, height * width / 1e6 / seconds,
        f" ({photo.remark})" if photo.remark else "",
    )  # fmt: skip


def _upscale(photo: Photo, upscaler: Upscaler, alpha: AlphaMethod, progress: ProgressFn) -> Image:
    (height, width, colors), s = photo.pixels.shape, upscaler.scale
    channels = colors + (photo.alpha is not None)
    canvas = np.empty((height * s, width * s, channels), photo.pixels.dtype)
    if photo.alpha is None:
        upscaler.upscale_into(canvas, photo.pixels, progress)
        return canvas
    upscaler.upscale_into(canvas[:, :, :colors], spread_colors(photo.pixels, photo.alpha), progress)
    if alpha == "model":
        upscaler.upscale_into(canvas[:, :, colors:], photo.alpha[:, :, None], progress)
        return canvas
    edge = _ALPHA_EDGE if upscaler.seamless else 0
    interpolated = upscale_alpha(np.pad(photo.alpha, edge, mode="wrap"), s)
    canvas[:, :, colors] = interpolated[edge * s : (edge + height) * s, edge * s : (edge + width) * s]
    return canvas


def _check_memory(source: Path, photo: Photo, scale: int, height: int, width: int) -> None:
    channels = photo.pixels.shape[2] + (photo.alpha is not None)
    h, w = (n * scale for n in photo.pixels.shape[:2])
    canvas = 0 if (h, w) == (height, width) else h * w
    needed = height * width * (channels * photo.pixels.itemsize + 4)  # the encoder needs another 4 bytes per pixel
    needed += 2 * canvas * channels * photo.pixels.itemsize  # what is resized, and the result of the first pass
    free = free_bytes(torch.device("cpu"))
    if needed > free:
        gib = f"{needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
        raise ValueError(f"{source}: the result of {width}x{height} pixels needs {gib}")
