"""Upscales image files with a trained generator: single ones, folders, globs."""

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
    upscale_alpha,
    write_photo,
)
from srgan_dist.inference.upscaler import Image, Upscaler
from srgan_dist.utils.files import atomic_output, output_errors
from srgan_dist.utils.memory import free_bytes

log = logging.getLogger("srgan_dist")

MOVING = frozenset({".gif", ".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv"})


class Job(NamedTuple):
    """One image to upscale."""

    source: Path
    target: Path


class Outcome(NamedTuple):
    """How a process's share went, in images."""

    done: int
    failed: int
    skipped: int


def upscale_files(
    jobs: list[Job], upscaler: Upscaler, quality: int, overwrite: bool, group: Group, progress: ProgressFn
) -> int:
    """Upscales every image, shared out over `group`, and returns how many failed; the log names each.

    Args:
        quality: of JPEG and WebP, 1 to 100.
        overwrite: also do what was done before.
    """
    started = time.monotonic()
    mine = _work(jobs[group.rank :: group.size], upscaler, quality, overwrite, progress)
    done, failed, skipped = np.sum(group.gather([mine]), axis=0).tolist()
    seconds = time.monotonic() - started
    log.info(
        "%d of %d images upscaled in %.1f s (%.3g images/s), %d failed, %d were done before",
        done, len(jobs), seconds, done / seconds, failed, skipped,
    )  # fmt: skip
    return failed


def _work(jobs: list[Job], upscaler: Upscaler, quality: int, overwrite: bool, progress: ProgressFn) -> Outcome:
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
    """Upscales one image file; the result is there under its name only when it is whole.

    Raises:
        ValueError: the file cannot be read, or the result not be written or held in memory.
    """
    if job.source.suffix.lower() in MOVING and job.source.suffix.lower() != ".gif":
        raise ValueError(f"{job.source}: video is not upscaled here; take it apart with ffmpeg and name the folder")
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
    upscaler.upscale_into(canvas[:, :, :colors], photo.pixels, progress)
    if photo.alpha is not None:
        canvas[:, :, colors] = upscale_alpha(photo.alpha, s)
    return canvas


def _check_memory(source: Path, photo: Photo, height: int, width: int) -> None:
    channels = photo.pixels.shape[2] + (photo.alpha is not None)
    needed = height * width * (channels * photo.pixels.itemsize + 4)  # the encoder holds 4 bytes per pixel besides
    free = free_bytes(torch.device("cpu"))
    if needed > free:
        gib = f"{needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} are free"
        raise ValueError(f"{source}: the result of {width}x{height} takes {gib}")


def find_jobs(paths: Sequence[Path], kind: Format) -> list[Job]:
    """The images that the paths name, in order, each with its target, which is the last of the paths.

    Args:
        kind: of the files in a target folder.

    Raises:
        ValueError: a path that is not there, an empty folder, or a target that would replace its source.
    """
    if len(paths) < 2:
        raise ValueError("name what to upscale and where it goes: srgan upscale IN [IN ...] OUT --model RUN")
    *named, target = paths
    sources = list(dict.fromkeys(file for path in named for file in _expand(path)))  # globs may name one twice
    single = len(named) == 1 and sources == named
    if single and target.suffix and not target.is_dir():
        check_target(target, 0, 0)
        jobs = [Job(sources[0], target)]
    else:
        jobs = [Job(f, target / name) for f, name in zip(sources, _names(sources, kind), strict=True)]
    folders = {j.source.resolve().parent for j in jobs}
    for job in jobs:
        if job.source.resolve() == job.target.resolve() or (not single and job.target.resolve().parent in folders):
            raise ValueError(f"{job.target}: results beside their sources would be mixed up; choose another folder")
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
        raise ValueError(f"{path}: there is no such file or folder, and nothing matches it as a pattern")
    return found


def _names(sources: list[Path], kind: Format) -> list[str]:
    """File names in the target folder; a.png and a.jpg become a.png.png and a.jpg.png."""
    times = Counter(f.stem for f in sources)
    names = [f"{f.stem if times[f.stem] == 1 else f.name}.{kind}" for f in sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]}: two of the images have this name; upscale their folders one by one")
    return names
