"""Packs a source into shards: check everything first, then write, then publish the manifest."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan_dist import pictures
from srgan_dist.data.format import (
    MANIFEST,
    Encoding,
    Manifest,
    Shard,
    ShardWriter,
    Split,
    read_manifest,
    write_json,
)
from srgan_dist.data.sources import Item, Source
from srgan_dist.group import Alone, Group, Track, silent
from srgan_dist.resize import Kernel, Pixels, crop_to_multiple, reduce


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How pictures become shards."""

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
    """Only the first N pictures of each split."""

    skip_bad: bool = False
    """Leave out pictures that fail the checks instead of stopping."""

    shard_mb: int = 64
    """Size of a shard to aim at, in MB of raw pixels."""


_ALONE = Alone()


class Checked(NamedTuple):
    """A picture that was read once: its size, or what is wrong with it."""

    item: Item
    split: Split
    hr: tuple[int, int] = (0, 0)
    degradation: str = ""
    digest: str = ""
    problem: str = ""


def pack(source: Source, options: PackOptions, group: Group = _ALONE, track: Track = silent) -> Manifest:
    """Packs `source` and returns the manifest that now stands beside the shards.

    Nothing is written when a picture is wrong (unless `skip_bad`). Interrupted packing goes on where it
    stopped when it is called again; the bytes do not depend on how many processes share the work.

    Raises:
        ValueError: bad pictures (each named with its file), an empty source, or a folder of other shards.
    """
    checked = check(source, options, group, track)
    good = [c for c in checked if not c.problem]
    degradations = {c.degradation for c in good}
    if len(degradations) != 1:
        raise ValueError(f"some pictures have an LR partner and some do not; pack them apart ({options.out})")
    parts = _Parts(options, source, good)
    shards = parts.plan()
    mine = [s for i, s in enumerate(shards) if i % group.size == group.rank and not parts.done(s)]
    for planned in track(mine, "writing shards"):
        parts.write(planned)
    group.gather([])  # everybody has written
    return parts.publish(shards, degradations.pop(), first=group.rank == 0)


def check(source: Source, options: PackOptions, group: Group, track: Track) -> list[Checked]:
    """Reads every picture once and gathers what is wrong, in the source's order, on every process.

    Raises:
        ValueError: something is wrong (unless `skip_bad`) or nothing is left.
    """
    splits: list[Split] = [options.split] if options.split else ["train", "valid"]
    found = [(i, s) for s in splits for i in source.items(s, options.scale)[: options.limit]]
    numbers = range(group.rank, len(found), group.size)
    mine = [(n, _check(found[n][0], found[n][1], options)) for n in track(numbers, "checking pictures")]
    checked = _mark_duplicates([c for _, c in sorted(group.gather(mine), key=lambda numbered: numbered[0])])
    problems = [c.problem for c in checked if c.problem]
    if problems and not options.skip_bad:
        shown = "\n".join(f"  {p}" for p in problems)
        raise ValueError(
            f"{len(problems)} of {len(checked)} pictures are wrong, nothing was written:\n{shown}\n"
            "Mend them, or leave them out with --skip-bad."
        )
    if len(problems) == len(checked):
        raise ValueError(f"{source}: no picture to pack{': all are wrong' if problems else ''}")
    return checked


def _check(item: Item, split: Split, options: PackOptions) -> Checked:
    try:
        hr, _ = load(item, options.scale, options.kernel)
    except ValueError as error:
        return Checked(item, split, problem=str(error))
    made = "given" if item.lr else options.kernel
    return Checked(item, split, hr.shape[:2], made, hashlib.sha256(hr.tobytes()).hexdigest())


def _mark_duplicates(checked: list[Checked]) -> list[Checked]:
    first: dict[str, Checked] = {}
    marked: list[Checked] = []
    for c in checked:
        if not c.problem and (twin := first.setdefault(c.digest, c)) is not c:
            c = c._replace(problem=f"{c.item.hr}: the same picture as {twin.item.hr}")
        marked.append(c)
    return marked


def load(item: Item, scale: int, kernel: Kernel) -> tuple[Pixels, Pixels]:
    """HR and LR of an item; HR is cropped to a multiple of `scale` where LR is made here.

    Raises:
        ValueError: unreadable, smaller than `scale`, or HR is not `scale` times LR.
    """
    hr = pictures.read(item.hr)
    if item.lr is None:
        hr = np.ascontiguousarray(crop_to_multiple(hr, scale))
        if 0 in hr.shape:
            raise ValueError(f"{item.hr}: smaller than scale={scale}")
        return hr, reduce(hr, scale, kernel)
    lr = pictures.read(item.lr)
    if (lr.shape[0] * scale, lr.shape[1] * scale) != hr.shape[:2]:
        raise ValueError(
            f"{item.hr}: hr {hr.shape[1]}x{hr.shape[0]} is not {scale} x lr {lr.shape[1]}x{lr.shape[0]} ({item.lr})"
        )
    return hr, lr


class _Planned(NamedTuple):
    name: str
    split: Split
    samples: list[tuple[str, Checked]]


class _Parts:
    """The shards of one packing, finished ones remembered in a hidden folder until all are there."""

    def __init__(self, options: PackOptions, source: Source, good: list[Checked]) -> None:
        self._options, self._source, self._good = options, source, good
        same = [str(version("srgan-dist")), options.scale, options.encoding, options.kernel, options.shard_mb]
        listing = [(c.split, c.item.name, c.digest, c.degradation) for c in good]
        fingerprint = hashlib.sha256(json.dumps([same, listing]).encode()).hexdigest()[:16]
        self._folder = options.out / f".packing-{fingerprint}"
        self._others = _other_splits(options, {c.split for c in good})

    def plan(self) -> list[_Planned]:
        """Which samples go into which shard: consecutive ones, shards of about equal size."""
        planned: list[_Planned] = []
        splits: list[Split] = list(dict.fromkeys(c.split for c in self._good))
        for split in splits:
            mine = [c for c in self._good if c.split == split]
            sizes = np.array([c.hr[0] * c.hr[1] * 3 for c in mine]) * (1 + 1 / self._options.scale**2)
            count = max(1, round(sizes.sum() / (self._options.shard_mb * 1e6)))
            if count > 1:
                count = -(-count // 8) * 8  # up to eight processes then have the same to do
            middle = np.cumsum(sizes) - sizes / 2
            shard = np.minimum(middle / sizes.sum() * count, count - 1).astype(int)
            keys = _unique_keys([c.item.name for c in mine])
            for number, which in enumerate(np.unique(shard)):
                samples = [(keys[i], mine[i]) for i in np.flatnonzero(shard == which)]
                planned.append(_Planned(f"{split}-{number:06d}.tar", split, samples))
        return planned

    def done(self, planned: _Planned) -> bool:
        """Whether an earlier, interrupted packing of the same input finished this shard."""
        return self._part(planned).exists() and (self._options.out / planned.name).exists()

    def write(self, planned: _Planned) -> None:
        options = self._options
        self._folder.mkdir(parents=True, exist_ok=True)
        with ShardWriter(options.out, planned.name, planned.split, options.encoding) as writer:
            for key, c in planned.samples:
                hr, lr = load(c.item, options.scale, options.kernel)
                writer.add(key, hr, lr, {"name": c.item.name, "scale": options.scale, "degradation": c.degradation})
        write_json(writer.shard().to_json(), self._part(planned))

    def publish(self, shards: list[_Planned], degradation: str, first: bool) -> Manifest:
        """The manifest over all shards; the first process writes it."""
        written = [Shard.from_json(json.loads(self._part(p).read_text())) for p in shards] if first else []
        software = f"srgan-dist {version('srgan-dist')}"
        manifest = Manifest(
            self._options.scale,
            self._options.encoding,
            degradation,
            str(self._source),
            software,
            written + self._others,
        )
        if first:
            write_json(manifest.to_json(), self._options.out / MANIFEST)
            for leftover in sorted(self._folder.iterdir()):
                leftover.unlink()
            self._folder.rmdir()
        return manifest

    def _part(self, planned: _Planned) -> Path:
        return self._folder / f"{planned.name}.json"


def _other_splits(options: PackOptions, splits: set[Split]) -> list[Shard]:
    """Shards of the splits that stand in the folder already and are not packed now."""
    if not (options.out / MANIFEST).exists():
        return []
    old = read_manifest(options.out)
    if (old.scale, old.encoding) != (options.scale, options.encoding):
        raise ValueError(
            f"{options.out} holds shards of scale={old.scale}, encoding={old.encoding}; pack into another folder"
        )
    return [s for s in old.shards if s.split not in splits]


def _unique_keys(names: list[str]) -> list[str]:
    """WebDataset keys: everything from the first dot on would be taken for the extension."""
    keys = [re.sub(r"[^\w-]", "_", name)[:80] for name in names]
    times = Counter(keys)
    return [k if times[k] == 1 else f"{k}_{n}" for n, k in enumerate(keys)]
