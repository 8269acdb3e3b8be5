"""Image files to upscale, from the paths on the command line: files, folders and globs."""

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from srgan_dist.imaging.extensions import EXTENSIONS
from srgan_dist.imaging.listing import list_images
from srgan_dist.imaging.photo import Format, check_target
from srgan_dist.utils.files import fitting_name

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv"})
"""Extensions of videos, each of which is reported as a failure."""


class Job(NamedTuple):
    """An image file to upscale, and the file to write."""

    source: Path
    target: Path
    is_named: bool = False
    """Whether the user named the target file itself, which may then be replaced whatever it contains."""


class _Found(NamedTuple):
    file: Path
    folder: Path
    """Its folder in the target folder, relative to that."""


def find_jobs(paths: Sequence[Path], kind: Format, *, recursive: bool = False) -> list[Job]:
    """Return the image files that paths refer to, in order, each with the file to write.

    The log says how many files of the folders are left out, and why.

    Args:
        paths: Image files, folders and globs, followed by the target: a file for a single image, otherwise a folder.
        kind: Format of the files in a target folder.
        recursive: Also take the images in subfolders, and write their results into subfolders of the same names.

    Raises:
        ValueError: If a path does not exist, a folder has no images, two images would get the same target, or results
            would be written beside their sources.
    """
    if len(paths) < 2:
        raise ValueError("pass the images and the target: srgan upscale IN [IN ...] OUT --model RUN")
    *named, target = paths
    found = {f.file: f for path in named for f in _expand(path, recursive)}  # globs may match a file twice
    single = len(named) == 1 and list(found) == named
    if single and target.suffix and not target.is_dir():
        check_target(target, 0, 0)
        jobs = [Job(named[0], target, is_named=True)]
    else:
        jobs = [Job(file, target / name) for file, name in zip(found, _names(list(found.values()), kind), strict=True)]
    folders = {j.source.resolve().parent for j in jobs}
    trees = {path.resolve() for path in named if recursive and path.is_dir()}
    for job in jobs:
        written = job.target.resolve()
        beside = not single and written.parent in folders
        if job.source.resolve() == written or beside or trees & set(written.parents):
            raise ValueError(f"{job.target}: results would be mixed with their sources; choose another folder")
    return jobs


def _expand(path: Path, recursive: bool) -> list[_Found]:
    if path.is_dir():
        files = list_images(path, recursive=recursive, extensions=EXTENSIONS | VIDEOS)
        return [_Found(f, f.parent.relative_to(path)) for f in files]
    if path.exists():
        return [_Found(path, Path())]
    found = sorted(f for f in map(Path, glob.glob(str(path), recursive=True)) if not f.is_dir())
    if not found:
        raise ValueError(f"{path}: there is no such file or folder, and no file matches it as a pattern")
    return [_Found(f, Path()) for f in found]


def _names(found: list[_Found], kind: Format) -> list[Path]:
    """Return the paths in the target folder. If stems repeat, a.png and a.jpg become a.png.png and a.jpg.png."""
    times = Counter((f.folder, f.file.stem) for f in found)
    stems = [f.file.stem if times[f.folder, f.file.stem] == 1 else f.file.name for f in found]
    names = [f.folder / fitting_name(stem, f".{kind}") for f, stem in zip(found, stems, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{twice[0]}: two results would have this name; upscale the folders of their images one by one"
        )
    return names
