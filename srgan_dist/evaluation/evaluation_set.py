"""Held-out pairs to judge on: a folder, shards, or one of the field's test sets by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan_dist.data.packing.sources import FolderSource, Item
from srgan_dist.data.shards.manifest import MANIFEST, read_manifest
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.evaluation.benchmark_sets import KERNEL, TESTSETS, fetch_testset
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel, crop_to_multiple, downscale


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


def open_evaluation_set(data: Path, scale: int, kernel: Kernel = "matlab-mirror") -> EvaluationSet:
    """The images of a folder, of shards (their `valid` split, or all where there is none), or of a test set.

    Raises:
        ValueError: nothing to read, shards of another scale, or a test set that cannot be downloaded.
    """
    if (data / MANIFEST).exists():
        return _open_shards(data, scale)
    if data.is_dir():
        _check_pairs(data, scale)
        source = FolderSource(root=data)
        return _from_items(data.name, source.items("valid", scale) or source.items("train", scale), scale, kernel)
    if str(data).lower() in TESTSETS:
        return _from_items(TESTSETS[str(data).lower()], fetch_testset(str(data)), scale, KERNEL)
    raise ValueError(f"--data {data}: there is no such folder, and the test sets are {', '.join(TESTSETS)}")


def _check_pairs(data: Path, scale: int) -> None:
    there = sorted(f.name for f in data.glob("HR_x*") if f.is_dir())
    if there and not any((data / name).is_dir() for name in (f"HR_x{scale}", "HR")):
        raise ValueError(f"--data {data}: there is no HR_x{scale} here, but {', '.join(there)}; set --scale to match")


def shard_evaluation_set(shards: ShardSet, name: str) -> EvaluationSet:
    """Shards as a gallery."""

    def read(i: int) -> ImagePair:
        return ImagePair(shards.keys[i], shards.lr(i).copy(), shards.hr(i).copy())

    return EvaluationSet(name, shards.scale, shards.manifests[0].degradation, len(shards), read)


def _open_shards(data: Path, scale: int) -> EvaluationSet:
    manifest = read_manifest(data)
    if manifest.scale != scale:
        raise ValueError(f"--data {data}: shards of scale={manifest.scale}, evaluated at scale={scale}")
    return shard_evaluation_set(ShardSet((str(data),), "valid" if manifest.samples("valid") else "train"), data.name)


def _from_items(name: str, items: list[Item], scale: int, kernel: Kernel) -> EvaluationSet:
    made = "given" if items[0].lr else kernel
    return EvaluationSet(name, scale, made, len(items), lambda i: _load(items[i], scale, kernel))


def _load(item: Item, scale: int, kernel: Kernel) -> ImagePair:
    hr = images.read(item.hr)
    if item.lr is None:
        hr = np.ascontiguousarray(crop_to_multiple(hr, scale))
        if 0 in hr.shape:
            raise ValueError(f"{item.hr}: smaller than scale={scale}")
        return ImagePair(item.name, downscale(hr, scale, kernel), hr)
    lr = images.read(item.lr)
    height, width = lr.shape[0] * scale, lr.shape[1] * scale
    if not (0 <= hr.shape[0] - height < scale and 0 <= hr.shape[1] - width < scale):
        raise ValueError(
            f"{item.hr}: {hr.shape[1]}x{hr.shape[0]} is not {scale} x {lr.shape[1]}x{lr.shape[0]} ({item.lr})"
        )
    return ImagePair(item.name, lr, np.ascontiguousarray(hr[:height, :width]))  # LR was made of the part that divides
