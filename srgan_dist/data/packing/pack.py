"""Packs a source into shards: check everything first, then write, then publish the manifest."""

import hashlib
import json
import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan_dist.data.packing.checks import Checked, Rules, check, made_by, workers
from srgan_dist.data.packing.sources import Item, Source
from srgan_dist.data.pairs import load_pair
from srgan_dist.data.shards.cache import Checks, cache_folder
from srgan_dist.data.shards.manifest import MANIFEST, SPLITS, Encoding, Manifest, Shard, Split, read_manifest
from srgan_dist.data.shards.tars import ShardWriter
from srgan_dist.distributed.group import Group, ProgressFn, SingleProcess, no_progress
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel
from srgan_dist.utils.files import write_json

log = logging.getLogger("srgan_dist")

_OVERLAP = 96
"""HR pixels that neighboring tiles share at least: every crop of the paper's size is inside some tile."""


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How images become shards."""

    out: Path
    """Folder for the shards and their manifest."""

    scale: int = 4
    """How many times smaller LR is."""

    split: Split | None = None
    """Pack only this split; otherwise every split that the source has."""

    encoding: Encoding = "raw"
    """raw is the fastest to pack and to read; png and webp are smaller."""

    kernel: Kernel = "matlab-mirror"
    """Which bicubic makes LR where the source has none."""

    limit: int | None = None
    """Only the first N images of each split."""

    skip_bad: bool = False
    """Leave out images that fail the checks instead of stopping."""

    min_side: int = 32
    """Images with a shorter HR side are wrong."""

    crop_hr: bool = False
    """Cut off what HR has beyond scale times LR on the right and at the bottom, where that is less than the scale."""

    tile: int | None = None
    """Cut HR into overlapping tiles of at most so many pixels: png and webp then decode less for each crop."""

    shard_mb: float = 64
    """Size of a shard to aim at, in MB of raw pixels."""

    workers: int = 1
    """Processes on this machine. On several machines, or under `accelerate launch`, each process has so many."""


_ALONE = SingleProcess()


def pack(source: Source, options: PackOptions, group: Group = _ALONE, progress: ProgressFn = no_progress) -> Manifest:
    """Packs `source` and returns the manifest that now stands beside the shards.

    Nothing is written when an image is wrong (unless `skip_bad`). Interrupted packing goes on where it
    stopped when it is called again; the bytes do not depend on how many processes share the work.

    Raises:
        ValueError: bad images (each named with its file), an empty source, or a folder of other shards.
    """
    _refuse(options)
    began = time.monotonic()
    splits: tuple[Split, ...] = (options.split,) if options.split else SPLITS
    rules = Rules(options.scale, options.kernel, options.min_side, source.aligned, options.crop_hr)
    with workers(options.workers) as run:
        good = _good(check(source, splits, options.limit, rules, group, run, progress), options)
        plan = _Plan(options, source, good)
        if group.rank == 0:
            plan.clean()
        group.gather([])  # what an earlier packing left half done is away
        mine = [s for i, s in enumerate(plan.shards()) if i % group.size == group.rank and not plan.done(s)]
        for _ in progress(run(partial(_write, plan=plan), mine), "writing shards"):
            pass
    group.gather([])  # everybody has written
    manifest = plan.publish(first=group.rank == 0)
    megapixels, seconds = sum(c.hr[0] * c.hr[1] for c in good) / 1e6, time.monotonic() - began
    log.info(
        "packed %.1f megapixels in %.1f s: %.3f s per megapixel", megapixels, seconds, seconds / max(megapixels, 1e-9)
    )
    return manifest


def _refuse(options: PackOptions) -> None:
    if options.scale < 1 or options.workers < 1 or options.shard_mb <= 0:
        raise ValueError("--scale and --workers must be at least 1, --shard-mb above 0")
    if options.tile is not None and (options.tile <= 2 * _OVERLAP or options.tile % options.scale):
        raise ValueError(f"--tile {options.tile} must be above {2 * _OVERLAP} and a multiple of --scale")


def _good(checked: list[Checked], options: PackOptions) -> list[Checked]:
    """The images without a problem, once the report on the others is out."""
    problems = [c.problem for c in checked if c.problem]
    report = f"{len(problems)} of {len(checked)} images are wrong"
    shown = "\n".join(f"  {p}" for p in problems)
    if problems and not options.skip_bad:
        raise ValueError(f"{report}, nothing was written:\n{shown}\nMend them, or leave them out with --skip-bad.")
    if len(problems) == len(checked):
        raise ValueError(f"no image to pack, all are wrong:\n{shown}")
    if problems:
        log.info("%s and left out:\n%s", report, shown)
    good = [c for c in checked if not c.problem]
    if len({c.item.lr is None for c in good}) != 1:
        raise ValueError(f"some images have an LR partner and some do not; pack them apart ({options.out})")
    return good


class _Planned(NamedTuple):
    name: str
    split: Split
    samples: list[tuple[str, Item]]


class _Plan:
    """The shards of one packing; finished ones are remembered in a hidden folder until all are there."""

    def __init__(self, options: PackOptions, source: Source, good: list[Checked]) -> None:
        self.options, self.degradation = options, made_by(good)
        self._good, self._label = good, source.label
        same = [version("srgan-dist"), options.scale, options.encoding, options.kernel]
        same += [float(options.shard_mb), options.tile]
        listing = [(c.split, c.item.name, c.digest.hex(), self.degradation) for c in good]
        fingerprint = hashlib.sha256(json.dumps([same, listing]).encode()).hexdigest()[:16]
        self._folder = options.out / f".packing-{fingerprint}"
        self._old = _old_shards(options, self.degradation, {c.split for c in good})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_good": [], "_old": []}  # workers need neither

    def clean(self) -> None:
        """Makes the folders, and removes what a killed packing left half written, or began with other options."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for other in set(self.options.out.glob(".packing-*")) - {self._folder}:
            shutil.rmtree(other)
        for leftover in self.options.out.glob(".*.partial"):
            leftover.unlink(missing_ok=True)

    def shards(self) -> list[_Planned]:
        """Which samples go into which shard: consecutive ones, shards of about equal size."""
        planned: list[_Planned] = []
        splits: list[Split] = list(dict.fromkeys(c.split for c in self._good))
        for split in splits:
            mine = [c for c in self._good if c.split == split]
            sizes = np.array([c.hr[0] * c.hr[1] * 3 for c in mine]) * (1 + 1 / self.options.scale**2)
            count = max(1, round(sizes.sum() / (self.options.shard_mb * 1e6)))
            if count > 1:
                count = -(-count // 8) * 8  # up to eight processes then have the same to do
            middle = np.cumsum(sizes) - sizes / 2
            shard = np.minimum(middle / sizes.sum() * count, count - 1).astype(int)
            keys = _unique_keys([c.item.name for c in mine])
            for number, which in enumerate(np.unique(shard)):
                samples = [(keys[i], mine[i].item) for i in np.flatnonzero(shard == which)]
                planned.append(_Planned(f"{split}-{number:06d}.tar", split, samples))
        return planned

    def done(self, planned: _Planned) -> bool:
        """Whether an earlier, interrupted packing of the same input finished this shard."""
        try:
            noted = json.loads(self.part(planned).read_text())
            return (self.options.out / planned.name).stat().st_size == noted["bytes"]
        except (FileNotFoundError, ValueError, KeyError):
            return False

    def publish(self, first: bool) -> Manifest:
        """The manifest over all shards; the first process writes it and clears up."""
        options, planned = self.options, self.shards()
        written = [Shard.from_json(json.loads(self.part(p).read_text())) for p in planned] if first else []
        splits = {p.split for p in planned}
        kept = [s for s in self._old if s.split not in splits]
        software = f"srgan-dist {version('srgan-dist')}"
        both = sorted(written + kept, key=lambda s: (SPLITS.index(s.split), s.name))
        manifest = Manifest(options.scale, options.encoding, self.degradation, self._label, software, both)
        if first:
            write_json(manifest.to_json(), options.out / MANIFEST)
            for stale in {s.name for s in self._old} - {s.name for s in both}:
                (options.out / stale).unlink(missing_ok=True)
            for leftover in sorted(self._folder.iterdir()):
                leftover.unlink()
            self._folder.rmdir()
        return manifest

    def part(self, planned: _Planned) -> Path:
        """Where a finished shard's entry of the manifest waits."""
        return self._folder / f"{planned.name}.json"


def _write(planned: _Planned, plan: _Plan) -> None:
    """Writes one shard, one image in memory at a time."""
    options = plan.options
    with ShardWriter(options.out, planned.name, planned.split, options.encoding) as writer:
        for key, item in planned.samples:
            hr, lr = load_pair(item.hr, item.lr, options.scale, options.kernel, crop_hr=options.crop_hr)
            notes = {"name": item.name, "scale": options.scale, "degradation": plan.degradation}
            for suffix, y, x, height, width in _tiles(hr, options):
                place = {"y": y, "x": x} if suffix else {}
                s = options.scale
                small = lr[y // s : (y + height) // s, x // s : (x + width) // s]
                writer.add(key + suffix, hr[y : y + height, x : x + width], small, notes | place)
    shard = writer.shard()
    write_json(shard.to_json(), plan.part(planned))
    Checks(cache_folder()).remember(options.out / planned.name, shard)


def _tiles(hr: Pixels, options: PackOptions) -> Iterator[tuple[str, int, int, int, int]]:
    """Suffix of the key, y, x, height and width of each tile; the whole image where it is not cut."""
    if options.tile is None:
        yield "", 0, 0, hr.shape[0], hr.shape[1]
        return
    for y, height in _cuts(hr.shape[0], options.tile, options.scale):
        for x, width in _cuts(hr.shape[1], options.tile, options.scale):
            yield f"_y{y}_x{x}", y, x, height, width


def _cuts(length: int, tile: int, scale: int) -> Iterator[tuple[int, int]]:
    """Start and length of the tiles along one side, spread evenly, on multiples of the scale."""
    if length <= tile:
        yield 0, length
        return
    count = -(-(length - _OVERLAP) // (tile - _OVERLAP - scale))  # rounding down to the scale loses less than one scale
    for n in range(count):
        yield (length - tile) * n // (count - 1) // scale * scale, tile


def _old_shards(options: PackOptions, degradation: str, splits: set[Split]) -> list[Shard]:
    """Shards that stand in the folder already: of other splits, which are kept, or to be replaced."""
    if not (options.out / MANIFEST).exists():
        return []
    old = read_manifest(options.out)
    kept = any(s.split not in splits for s in old.shards)
    was, now = (old.scale, old.encoding), (options.scale, options.encoding)
    if was != now or (kept and old.degradation != degradation):
        decoded_cache = f"scale={old.scale}, encoding={old.encoding}, LR {old.degradation}"
        raise ValueError(f"{options.out} holds shards of {decoded_cache}; pack into another folder")
    return old.shards


def _unique_keys(names: list[str]) -> list[str]:
    """WebDataset keys: everything from the first dot on would be taken for the extension."""
    keys = [re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:80] for name in names]
    times = Counter(keys)
    return [k if times[k] == 1 else f"{k}_{n}" for n, k in enumerate(keys)]
