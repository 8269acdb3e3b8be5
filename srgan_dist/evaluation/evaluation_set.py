"""Held-out image pairs: from a folder, packed shards, or a standard test set by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from srgan_dist.data.packing.pairing import Item
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.pairs import load_pair
from srgan_dist.data.shards.manifest import MANIFEST
from srgan_dist.data.shards.manifest_parser import read_manifest
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.evaluation.benchmark_sets import KERNEL, TESTSETS, fetch_testset
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel


class ImagePair(NamedTuple):
    """A held-out image: lr (h, w, 3) and hr (scale*h, scale*w, 3), uint8 RGB."""

    name: str
    lr: Pixels
    hr: Pixels


@dataclass(frozen=True)
class EvaluationSet:
    """The image pairs of a data set, read one at a time."""

    data: str
    """Name of the data set."""
    scale: int
    """Upscaling factor."""
    degradation: str
    """The kernel that made LR, or `given` if LR came with the data."""
    count: int
    """Number of images."""
    read: Callable[[int], ImagePair]
    """Reads the pair of an index in [0, count)."""


def open_evaluation_set(
    data: Path, scale: int, kernel: Kernel = "matlab-mirror", *, crop_hr: bool = False
) -> EvaluationSet:
    """Open the images of a folder, of packed shards, or of a test set.

    Shards are opened at their `valid` split, or at `train` if they have no held-out images.

    Args:
        data: A folder of HR images, a folder with HR and LR folders, packed shards, or a key of `TESTSETS`.
        scale: Upscaling factor.
        kernel: The kernel that makes LR, for a folder that has HR images only.
        crop_hr: See `data.pairs.match_pair`.

    Raises:
        ValueError: If there are no images, an image lacks its LR or HR, shards have another scale, or a test set cannot
            be downloaded.
    """
    if (data / MANIFEST).exists():
        return _open_shards(data, scale)
    if data.is_dir():
        source = FolderSource(root=data)
        items = source.items("valid", scale) or source.items("train", scale)
        return _from_items(data.name, items, scale, kernel, crop_hr)
    if str(data).lower() in TESTSETS:
        return _from_items(TESTSETS[str(data).lower()], fetch_testset(str(data)), scale, KERNEL)
    raise ValueError(f"--data {data}: neither a folder nor a test set ({', '.join(TESTSETS)})")


def shard_evaluation_set(shards: ShardSet, name: str) -> EvaluationSet:
    """Return the image pairs of shards as an evaluation set with the given name."""

    def read(i: int) -> ImagePair:
        return ImagePair(shards.keys[i], shards.lr(i).copy(), shards.hr(i).copy())

    return EvaluationSet(name, shards.scale, shards.manifests[0].degradation, len(shards), read)


def _open_shards(data: Path, scale: int) -> EvaluationSet:
    manifest = read_manifest(data)
    if manifest.scale != scale:
        raise ValueError(f"--data {data}: the shards have scale={manifest.scale}, the evaluation has scale={scale}")
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
