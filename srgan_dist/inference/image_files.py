"""Upscaling of image files with a trained generator: single files, folders and globs."""

import glob
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from srgan_dist.distributed.group import Group, ProgressFn
from srgan_dist.imaging.extensions import EXTENSIONS
from srgan_dist.imaging.photo import (
    FORMATS,
    Format,
    Photo,
    check_target,
    read_photo,
    write_photo,
)
from srgan_dist.imaging.transparency import spread_colors, upscale_alpha
from srgan_dist.inference.upscaler import Image, Upscaler
from srgan_dist.utils.files import atomic_output, output_errors
from srgan_dist.utils.memory import free_bytes

log = logging.getLogger("srgan_dist")

MOVING = frozenset({".gif", ".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv"})
"""Extensions of animations and videos, which are reported instead of being left out silently."""


class Job(NamedTuple):
    """An image file to upscale, and the file to write."""

    source: Path
    target: Path


class Outcome(NamedTuple):
    """Numbers of images that a process upscaled, could not upscale, and skipped."""

    done: int
    failed: int
    skipped: int


def upscale_files(
    jobs: list[Job], upscaler: Upscaler, quality: int, overwrite: bool, group: Group, progress: ProgressFn
) -> int:
    """Upscale image files, and return the number of files that failed on any process. The log names each of them.

    Args:
        jobs: The image files; the same list on every process.
        upscaler: Upscales the images.
        quality: Quality of JPEG and WebP, 1 to 100.
        overwrite: Also upscale images whose target exists and is not older than the source.
        group: The processes that share the files.
        progress: Wraps the files, for a progress bar.
    """
    started = time.monotonic()
    outcome = _upscale_all(jobs[group.rank :: group.size], upscaler, quality, overwrite, progress)
    done, failed, skipped = np.sum(group.gather([outcome]), axis=0).tolist()
    seconds = time.monotonic() - started
    log.info(
        "%d of %d images upscaled in %.1f s (%.3g images/s), %d failed, %d skipped because they are up to date",
        done, len(jobs), seconds, done / seconds, failed, skipped,
    )  # fmt: skip
    return failed


def _upscale_all(jobs: list[Job], upscaler: Upscaler, quality: int, overwrite: bool, progress: ProgressFn) -> Outcome:
    outcomes: Counter[str] = Counter()
    for job in progress(jobs, "upscaling"):
        if not overwrite and _is_done(job):
            outcomes["skipped"] += 1
            continue
        try:
            upscale_file(job, upscaler, quality, progress)
            outcomes["done"] += 1
        except ValueError as error:
            log.error("%s", error)
            outcomes["failed"] += 1
    return Outcome(outcomes["done"], outcomes["failed"], outcomes["skipped"])


def _is_done(job: Job) -> bool:
    try:
        return job.target.stat().st_mtime >= job.source.stat().st_mtime
    except OSError:
        return False


def upscale_file(job: Job, upscaler: Upscaler, quality: int, progress: ProgressFn) -> None:
    """Upscale one image file. The result is written atomically.

    Args:
        job: The image file, and the file to write.
        upscaler: Upscales the image.
        quality: Quality of JPEG and WebP, 1 to 100.
        progress: Wraps the batches of tiles, for a progress bar.

    Raises:
        ValueError: If the image cannot be read, or the result cannot be written or does not fit in memory.
    """
    if job.source.suffix.lower() in MOVING and job.source.suffix.lower() != ".gif":
        raise ValueError(
            f"{job.source}: videos are not supported; extract the frames with ffmpeg and pass their folder"
        )
    started, photo, s = time.monotonic(), read_photo(job.source), upscaler.scale
    height, width = (n * s for n in photo.pixels.shape[:2])
    check_target(job.target, height, width)
    _check_memory(job.source, photo, height, width)
    with output_errors(job.target), atomic_output(job.target) as out:
        image = _upscale(photo, upscaler, progress)
        write_photo(image, photo, out, FORMATS[job.target.suffix.lower()], quality)
    seconds = time.monotonic() - started
    log.info(
        "%s: %dx%d to %dx%d in %.1f s, %.3g megapixels/s%s",
        job.target, width // s, height // s, width, height, seconds, height * width / 1e6 / seconds,
        f" ({photo.remark})" if photo.remark else "",
    )  # fmt: skip


def _upscale(photo: Photo, upscaler: Upscaler, progress: ProgressFn) -> Image:
    (height, width, colors), s = photo.pixels.shape, upscaler.scale
    channels = colors + (photo.alpha is not None)
    canvas = np.empty((height * s, width * s, channels), photo.pixels.dtype)
    pixels = photo.pixels if photo.alpha is None else spread_colors(photo.pixels, photo.alpha)
    upscaler.upscale_into(canvas[:, :, :colors], pixels, progress)
    if photo.alpha is not None:
        canvas[:, :, colors] = upscale_alpha(photo.alpha, s)
    return canvas


def _check_memory(source: Path, photo: Photo, height: int, width: int) -> None:
    channels = photo.pixels.shape[2] + (photo.alpha is not None)
    needed = height * width * (channels * photo.pixels.itemsize + 4)  # the encoder needs another 4 bytes per pixel
    free = free_bytes(torch.device("cpu"))
    if needed > free:
        gib = f"{needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
        raise ValueError(f"{source}: the result of {width}x{height} pixels needs {gib}")


def find_jobs(paths: Sequence[Path], kind: Format) -> list[Job]:
    """Return the image files that paths refer to, in order, each with the file to write.

    Args:
        paths: Image files, folders and globs, followed by the target: a file for a single image, otherwise a folder.
        kind: Format of the files in a target folder.

    Raises:
        ValueError: If a path does not exist, a folder has no images, two images would get the same target, or results
            would be written beside their sources.
    """
    if len(paths) < 2:
        raise ValueError("pass the images and the target: srgan upscale IN [IN ...] OUT --model RUN")
    *named, target = paths
    sources = list(dict.fromkeys(file for path in named for file in _expand(path)))  # globs may match a file twice
    single = len(named) == 1 and sources == named
    if single and target.suffix and not target.is_dir():
        check_target(target, 0, 0)
        jobs = [Job(sources[0], target)]
    else:
        jobs = [Job(f, target / name) for f, name in zip(sources, _names(sources, kind), strict=True)]
    folders = {j.source.resolve().parent for j in jobs}
    for job in jobs:
        if job.source.resolve() == job.target.resolve() or (not single and job.target.resolve().parent in folders):
            raise ValueError(f"{job.target}: results would be mixed with their sources; choose another folder")
    return jobs


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        known = EXTENSIONS | MOVING
        found = sorted(
            f for f in path.iterdir() if f.suffix.lower() in known and not f.name.startswith(".") and not f.is_dir()
        )
        if not found:
            raise ValueError(f"{path}: no images here (looked for {', '.join(sorted(EXTENSIONS))})")
        return found
    if path.exists():
        return [path]
    found = sorted(f for f in map(Path, glob.glob(str(path), recursive=True)) if f.is_file())
    if not found:
        raise ValueError(f"{path}: there is no such file or folder, and no file matches it as a pattern")
    return found


def _names(sources: list[Path], kind: Format) -> list[str]:
    """Return the file names in the target folder. If stems repeat, a.png and a.jpg become a.png.png and a.jpg.png."""
    times = Counter(f.stem for f in sources)
    names = [f"{f.stem if times[f.stem] == 1 else f.name}.{kind}" for f in sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{twice[0]}: two results would have this name; upscale the folders of their images one by one"
        )
    return names
