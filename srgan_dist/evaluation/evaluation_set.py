"""Held-out pairs to evaluate on: a folder, shards, or one of the field's test sets by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from srgan_dist.data.packing.sources import FolderSource, Item
from srgan_dist.data.pairs import load_pair
from srgan_dist.data.shards.manifest import MANIFEST, read_manifest
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.evaluation.benchmark_sets import KERNEL, TESTSETS, fetch_testset
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel


class ImagePair(NamedTuple):
    """A held-out pair."""

    name: str
    lr: Pixels
    hr: Pixels


@dataclass(frozen=True)
class EvaluationSet:
    """The images of one data set, read one at a time."""

    data: str
    scale: int
    degradation: str
    """The kernel that made LR, or `given`."""
    count: int
    read: Callable[[int], ImagePair]


def open_evaluation_set(
    data: Path, scale: int, kernel: Kernel = "matlab-mirror", *, crop_hr: bool = False
) -> EvaluationSet:
    """Open the images of a folder, of shards (their `valid` split, or all where there is none), or of a test set.

    Args:
        kernel: makes LR where a folder holds HR images only.
        crop_hr: see `data.pairs.match_pair`.

    Raises:
        ValueError: there is nothing to read, images lack their partner, shards have another scale, or a test set cannot
            be downloaded.
    """
    if (data / MANIFEST).exists():
        return _open_shards(data, scale)
    if data.is_dir():
        _check_folders(data, scale)
        source = FolderSource(root=data)
        items = source.items("valid", scale) or source.items("train", scale)
        return _from_items(data.name, items, scale, kernel, crop_hr)
    if str(data).lower() in TESTSETS:
        return _from_items(TESTSETS[str(data).lower()], fetch_testset(str(data)), scale, KERNEL)
    raise ValueError(f"--data {data}: there is no such folder, and the test sets are {', '.join(TESTSETS)}")


def _check_folders(data: Path, scale: int) -> None:
    there = sorted(f.name for f in data.glob("HR_x*") if f.is_dir())
    if there and not any((data / name).is_dir() for name in (f"HR_x{scale}", "HR")):
        raise ValueError(f"--data {data}: there is no HR_x{scale} here, but {', '.join(there)}; set --scale to match")


def shard_evaluation_set(shards: ShardSet, name: str) -> EvaluationSet:
    """Return the pairs of shards as an evaluation set of the given name."""

    def read(i: int) -> ImagePair:
        return ImagePair(shards.keys[i], shards.lr(i).copy(), shards.hr(i).copy())

    return EvaluationSet(name, shards.scale, shards.manifests[0].degradation, len(shards), read)


def _open_shards(data: Path, scale: int) -> EvaluationSet:
    manifest = read_manifest(data)
    if manifest.scale != scale:
        raise ValueError(f"--data {data}: shards of scale={manifest.scale}, evaluated at scale={scale}")
    return shard_evaluation_set(ShardSet((str(data),), "valid" if manifest.samples("valid") else "train"), data.name)


def _from_items(name: str, items: list[Item], scale: int, kernel: Kernel, crop_hr: bool = False) -> EvaluationSet:
    problems = [f"  {item.problem}" for item in items if item.problem]
    if problems:
        raise ValueError("\n".join([f"{len(problems)} of {len(items)} images cannot be evaluated:", *problems]))
    degradation = "given" if items[0].lr else kernel

    def read(i: int) -> ImagePair:
        hr, lr = load_pair(items[i].hr, items[i].lr, scale, kernel, crop_hr=crop_hr)
        return ImagePair(items[i].name, lr, hr)

    return EvaluationSet(name, scale, degradation, len(items), read)
