"""Packing of a source into shards: check all images, then write the shards, then write the manifest."""

import hashlib
import json
import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan_dist.data.packing.checks import Checked, Rules, check, common_degradation, workers
from srgan_dist.data.packing.hold_out import choose_held_out
from srgan_dist.data.packing.pairing import Item
from srgan_dist.data.packing.sources import FolderSource, Source
from srgan_dist.data.pairs import load_pair
from srgan_dist.data.shards.cache import Checks
from srgan_dist.data.shards.manifest import MANIFEST, SPLITS, Encoding, Manifest, Shard, Split
from srgan_dist.data.shards.manifest_parser import parse_shard, read_manifest
from srgan_dist.data.shards.tars import ShardWriter
from srgan_dist.distributed.group import AgreedError, Group, ProgressFn, SingleProcess, no_progress
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel
from srgan_dist.runs.lock import RunLock
from srgan_dist.utils.cache_folder import cache_folder
from srgan_dist.utils.files import disk_errors, write_json
from srgan_dist.utils.terminal import ListedError
from srgan_dist.utils.usage import UsageError

log = logging.getLogger("srgan_dist")

_OVERLAP = 96
"""Minimum overlap of neighboring tiles in HR pixels, so that every crop of the paper's size lies inside some tile."""


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How images are packed into shards."""

    out: Path
    """Folder for the shards and their manifest."""

    scale: int = 4
    """Ratio of HR to LR sides."""

    split: Split | None = None
    """The only split to pack; every split of the source if not given."""

    encoding: Encoding = "raw"
    """Format of the images: raw is the fastest to pack and to read, png and webp are smaller."""

    kernel: Kernel = "matlab-mirror"
    """Bicubic kernel that makes LR if the source has none."""

    limit: int | None = None
    """Number of images to pack from each split, from the first on; all if not given."""

    skip_bad: bool = False
    """Skip images that fail validation instead of stopping."""

    min_side: int = 32
    """Smallest valid HR side in pixels."""

    max_pixels: int | None = None
    """Largest number of pixels of an image. By default it is as large as the free memory permits."""

    valid: float | None = None
    """Images of a folder without a valid folder to hold out of training: a number, or a fraction below 1. By default 2
    percent, at least 4, of folders with 40 images or more."""

    allow_misaligned: bool = False
    """Accept LR that seems shifted or scaled against HR, or to show something else."""

    crop_hr: bool = False
    """Crop HR at the right and bottom to scale times LR if it has fewer than `scale` extra pixels there."""

    tile: int | None = None
    """Side of overlapping tiles to cut HR into, in pixels; with png and webp each crop then decodes less."""

    shard_mb: float = 64
    """Target size of a shard, in MB of raw pixels."""

    workers: int = 1
    """Worker processes on this machine; under `accelerate launch`, worker processes of each launched process."""


_SINGLE_PROCESS = SingleProcess()


def pack(
    source: Source,
    options: PackOptions,
    group: Group = _SINGLE_PROCESS,
    progress: ProgressFn = no_progress,
) -> Manifest:
    """Pack `source` into shards and write their manifest beside them.

    Nothing is written if an image fails validation (unless `skip_bad`). If packing is interrupted, the same call
    continues it. The bytes do not depend on the number of processes.

    Args:
        group: processes that share the work; all of them must call `pack`.

    Returns:
        The manifest; complete only on the first process of `group`.

    Raises:
        ValueError: an option is out of range, images fail validation (the message names each file), the source has no
            image, or the folder holds other shards.
    """
    _validate(options, source.root)
    with _exclusive(options.out, group):
        return _pack(source, options, group, progress)


@contextmanager
def _exclusive(out: Path, group: Group) -> Generator[None]:
    """Hold the lock of the folder, so that no other packing writes to it.

    Raises:
        ValueError: another packing uses the folder; every process of the group raises it.
    """
    existed = out.is_dir()
    lock = RunLock(out, stop="pack into another folder")
    problem = _acquire(lock) if group.rank == 0 else []
    try:
        if found := group.gather(problem):
            raise AgreedError(*found)
        yield
    finally:
        lock.release()
        if group.rank == 0 and not existed and out.is_dir() and not any(out.iterdir()):
            out.rmdir()  # nothing was written


def _acquire(lock: RunLock) -> list[str]:
    """Wait until the lock is free; return the message if a process of this machine holds it."""
    try:
        while not lock.try_acquire():
            time.sleep(1)
    except ValueError as error:
        return [str(error)]
    return []


def _pack(source: Source, options: PackOptions, group: Group, progress: ProgressFn) -> Manifest:
    start = time.monotonic()
    splits: tuple[Split, ...] = (options.split,) if options.split else SPLITS
    aligned = source.aligned and not options.allow_misaligned
    rules = Rules(options.scale, options.kernel, options.min_side, aligned, options.crop_hr, options.max_pixels)
    with workers(options.workers) as run:
        # Check: each process reads its share of the images and all gather the results, so that every process has the
        # same list `good` here, or raises the same error before anything is written.
        good = _accepted(check(source, splits, options.limit, rules, group, run, progress), options)
        # Plan: a pure function of that list, so that the processes agree on the shards without communication.
        good = _hold_out(good, source, options, splits)
        plan = _Plan(options, source, good)
        if group.rank == 0:
            plan.clean()
        group.gather([])  # a barrier: no process writes before the first one has cleaned up
        # Write: each process writes every `size`-th shard that is not finished yet, one image in memory at a time.
        mine = [s for i, s in enumerate(plan.shards()) if i % group.size == group.rank and not plan.done(s)]
        for _ in progress(run(partial(_write_shard, plan=plan), mine), "writing shards"):
            pass
    group.gather([])  # a barrier: all shards are written
    # Publish last: shards without a manifest are never mistaken for a complete folder.
    manifest = plan.publish(first=group.rank == 0)
    megapixels, seconds = sum(c.hr[0] * c.hr[1] for c in good) / 1e6, time.monotonic() - start
    log.info(
        "packed %.1f megapixels in %.1f s: %.3f s per megapixel", megapixels, seconds, seconds / max(megapixels, 1e-9)
    )
    return manifest


def _validate(options: PackOptions, root: Path | None) -> None:
    least = {"scale": options.scale, "workers": options.workers, "min-side": options.min_side, "limit": options.limit}
    for name, value in least.items():
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value} must be at least 1")
    if options.shard_mb <= 0:
        raise UsageError(f"--shard-mb {options.shard_mb:g} must be positive")
    if options.tile is not None and (options.tile <= 2 * _OVERLAP or options.tile % options.scale):
        raise UsageError(f"--tile {options.tile} must be above {2 * _OVERLAP} and a multiple of --scale")
    if root is not None and options.out.resolve() == root.resolve():
        raise UsageError(
            f"--out {options.out} is --root: shards would be mixed with their images; choose another folder"
        )


def _accepted(checked: list[Checked], options: PackOptions) -> list[Checked]:
    """Return the valid images; raise a ValueError that reports all others, or log it with `skip_bad`."""
    problems = [c.problem for c in checked if c.problem]
    report = f"{len(problems)} of {len(checked)} images failed validation"
    listing = [f"  {p}" for p in problems]
    if problems and not options.skip_bad:
        raise ListedError(f"{report}; nothing was written:", *listing, "Fix them or pass --skip-bad.")
    if len(problems) == len(checked):
        raise ListedError("no image to pack, all failed validation:", *listing)
    if problems:
        log.info("%s and are skipped:", report)
        for line in listing:
            log.info("%s", line)
    good = [c for c in checked if not c.problem]
    if len({c.item.lr is None for c in good}) != 1:
        raise ValueError(
            f"{options.out}: some images have an LR partner and others do not; pack them into separate folders"
        )
    return good


def _hold_out(good: list[Checked], source: Source, options: PackOptions, splits: tuple[Split, ...]) -> list[Checked]:
    """Move some images of a folder without a valid folder from `train` to `valid`, and log which."""
    flat = isinstance(source, FolderSource) and len(splits) > 1 and all(c.split == "train" for c in good)
    if not flat:
        if options.valid:
            raise ValueError(
                f"--valid {options.valid:g}: {source.label} has held-out images, or --split selects a split"
            )
        return good
    old = read_manifest(options.out).shards if (options.out / MANIFEST).exists() else []
    keys = _unique_keys([c.item.name for c in good])
    held_out = choose_held_out(keys, options.valid, _packed_splits(old, options))
    if held_out:
        log.info("held out %d of %d images for validation: %s", len(held_out), len(good), ", ".join(sorted(held_out)))
    return [c._replace(split="valid" if key in held_out else "train") for key, c in zip(keys, good, strict=True)]


class _PlannedShard(NamedTuple):
    name: str
    split: Split
    samples: list[tuple[str, Item]]
    """Key and image of each sample."""


class _Plan:
    """The shards of one packing. A hidden folder records the finished ones until all are written.

    The folder's name is a hash of the options and of the images' pixels: only a packing with the same input continues.
    """

    def __init__(self, options: PackOptions, source: Source, good: list[Checked]) -> None:
        self.options, self.degradation = options, common_degradation(good)
        self._good, self._label = good, source.label
        inputs = [version("srgan-dist"), options.scale, options.encoding, options.kernel]
        inputs += [float(options.shard_mb), options.tile]
        listing = [(c.split, c.item.name, c.digest.hex(), self.degradation) for c in good]
        fingerprint = hashlib.sha256(json.dumps([inputs, listing]).encode()).hexdigest()[:16]
        self._folder = options.out / f".packing-{fingerprint}"
        self._old = _old_shards(options, self.degradation, {c.split for c in good})
        # Shards of an earlier packing stay readable until the manifest names the new ones, so these need other names.
        replaced = [s.name for s in self._old if s.split in {c.split for c in good}]
        plain = any(re.fullmatch(r"(train|valid)-\d{6}\.tar", name) for name in replaced)
        self._suffix = f"-{fingerprint[:8]}" if plain else ""

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_good": [],
            "_old": [],
        }  # the workers need neither; a pickled list would be slow to send

    def clean(self) -> None:
        """Create the folders; remove partial files of a killed packing and records of other inputs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        keep = {s.name for s in self._old} | {s.name for s in self.shards()}
        for other in set(self.options.out.glob(".packing-*")) - {self._folder}:
            for abandoned in {record.stem for record in other.glob("*.tar.json")} - keep:
                (self.options.out / abandoned).unlink(missing_ok=True)
            shutil.rmtree(other)
        for leftover in self.options.out.glob(".*.partial"):
            leftover.unlink(missing_ok=True)

    def shards(self) -> list[_PlannedShard]:
        """Return the shards with their samples: consecutive images, in shards of about equal size."""
        planned: list[_PlannedShard] = []
        splits: list[Split] = list(dict.fromkeys(c.split for c in self._good))
        for split in splits:
            checked = [c for c in self._good if c.split == split]
            sizes = np.array([c.hr[0] * c.hr[1] * 3 for c in checked]) * (1 + 1 / self.options.scale**2)
            count = max(1, round(sizes.sum() / (self.options.shard_mb * 1e6)))
            if count > 1:
                count = -(-count // 8) * 8  # so that up to eight processes have equal work
            middle = np.cumsum(sizes) - sizes / 2
            shard = np.minimum(middle / sizes.sum() * count, count - 1).astype(int)
            keys = _unique_keys([c.item.name for c in checked])
            for number, which in enumerate(np.unique(shard)):
                samples = [(keys[i], checked[i].item) for i in np.flatnonzero(shard == which)]
                planned.append(_PlannedShard(f"{split}-{number:06d}{self._suffix}.tar", split, samples))
        return planned

    def done(self, planned: _PlannedShard) -> bool:
        """Return whether an earlier, interrupted packing of the same input finished this shard."""
        try:
            entry = json.loads(self.part(planned).read_text("utf-8"))
            return (self.options.out / planned.name).stat().st_size == entry["bytes"]
        except (FileNotFoundError, ValueError, KeyError):
            return False

    def publish(self, first: bool) -> Manifest:
        """Return the manifest of all shards. The first process also writes it, and removes old shards and the records.

        On other processes the manifest lists only the shards of other splits that stay.
        """
        options, planned = self.options, self.shards()
        recorded = [json.loads(self.part(p).read_text("utf-8")) for p in planned] if first else []
        written = [parse_shard(record, options.scale, options.encoding) for record in recorded]
        splits = {p.split for p in planned}
        kept = [s for s in self._old if s.split not in splits]
        software = f"srgan-dist {version('srgan-dist')}"
        shards = sorted(written + kept, key=lambda s: (SPLITS.index(s.split), s.name))
        manifest = Manifest(options.scale, options.encoding, self.degradation, self._label, software, shards)
        if first:
            write_json(manifest.to_json(), options.out / MANIFEST)
            for stale in {s.name for s in self._old} - {s.name for s in shards}:
                (options.out / stale).unlink(missing_ok=True)
            for leftover in sorted(self._folder.iterdir()):
                leftover.unlink()
            self._folder.rmdir()
        return manifest

    def part(self, planned: _PlannedShard) -> Path:
        """Return the file that records a finished shard: its entry in the manifest."""
        return self._folder / f"{planned.name}.json"


def _write_shard(planned: _PlannedShard, plan: _Plan) -> None:
    """Write one shard, with one image in memory at a time. Runs in a worker process."""
    options = plan.options
    file = options.out / planned.name
    with disk_errors(file), ShardWriter(options.out, planned.name, planned.split, options.encoding) as writer:
        for key, item in planned.samples:
            hr, lr = load_pair(
                item.hr, item.lr, options.scale, options.kernel,
                crop_hr=options.crop_hr, max_pixels=options.max_pixels,
            )  # fmt: skip
            notes = {"name": item.name, "scale": options.scale, "degradation": plan.degradation}
            for suffix, y, x, height, width in _tiles(hr, options):
                offset = {"y": y, "x": x} if suffix else {}
                s = options.scale
                lr_tile = lr[y // s : (y + height) // s, x // s : (x + width) // s]
                writer.add(key + suffix, hr[y : y + height, x : x + width], lr_tile, notes | offset)
    # Only now, when the tar has its name, record it as finished; and as verified, so that no run reads it for that.
    shard = writer.shard()
    write_json(shard.to_json(), plan.part(planned))
    Checks(cache_folder()).remember(options.out / planned.name, shard)


def _tiles(hr: Pixels, options: PackOptions) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield the key suffix, y, x, height and width of each tile in HR pixels; the entire image without `--tile`."""
    if options.tile is None:
        yield "", 0, 0, hr.shape[0], hr.shape[1]
        return
    for y, height in _tile_spans(hr.shape[0], options.tile, options.scale):
        for x, width in _tile_spans(hr.shape[1], options.tile, options.scale):
            yield f"_y{y}_x{x}", y, x, height, width


def _tile_spans(length: int, tile: int, scale: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of the tiles along one side, evenly spaced, starting at multiples of the scale."""
    if length <= tile:
        yield 0, length
        return
    count = -(
        -(length - _OVERLAP) // (tile - _OVERLAP - scale)
    )  # rounding a start down moves it by less than the scale
    for n in range(count):
        yield (length - tile) * n // (count - 1) // scale * scale, tile


def _packed_splits(old: list[Shard], options: PackOptions) -> dict[str, Split]:
    """Return the split of each key of an earlier packing, without the suffix of tiles."""
    suffix = r"_y\d+_x\d+$" if options.tile else r"$^"
    return {re.sub(suffix, "", key): s.split for s in old for key in s.keys}


def _old_shards(options: PackOptions, degradation: str, splits: set[Split]) -> list[Shard]:
    """Return the shards that are already in the folder; those of `splits` will be replaced, the others stay.

    Raises:
        ValueError: they have another scale or encoding, or those that stay have another degradation.
    """
    if not (options.out / MANIFEST).exists():
        return []
    old = read_manifest(options.out)
    kept = any(s.split not in splits for s in old.shards)
    was, now = (old.scale, old.encoding), (options.scale, options.encoding)
    if was != now or (kept and old.degradation != degradation):
        existing = f"scale={old.scale}, encoding={old.encoding}, LR {old.degradation}"
        raise ValueError(f"{options.out} holds shards of {existing}; pack into another folder")
    return old.shards


def _unique_keys(names: list[str]) -> list[str]:
    """Return a unique WebDataset key per name, without dots: everything after the first one is the extension.

    Names whose keys would be equal get a part of their hash, so that a key does not depend on other images' order.
    """
    keys = [re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:80] for name in names]
    counts = Counter(keys)
    taken = set[str]()
    for n, name in enumerate(names):
        digest = name
        while keys[n] in taken or counts[keys[n]] > 1:
            digest = hashlib.sha256(digest.encode("utf-8", "surrogateescape")).hexdigest()
            keys[n] = f"{keys[n][:71]}-{digest[:8]}"
        taken.add(keys[n])
    return keys
