"""The images of one split of packed shards, wherever the shards are."""

import logging
import mmap
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.config import OnBad
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.manifest import HR, LR, Manifest, Shard, Split, Stored
from srgan_dist.data.shards.verify import CorruptSample, one_line
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels

T = TypeVar("T")

log = logging.getLogger("srgan_dist")


class ShardSet:
    """The images of one split of one or more folders (or URLs) of shards, mapped into memory.

    Args:
        locations: folders, URLs that fsspec knows, or places that are open already.
        on_bad: `stop` raises for a corrupt sample; `skip` marks it in `bad`, and leaves it out of `valid`.
        lazy: open shards only when `open` asks for them.

    Raises:
        ValueError: no such shards, mixed scales, or corrupt ones; shard and sample are named.
    """

    def __init__(
        self,
        locations: Sequence[str | ShardLocation],
        split: Split,
        on_bad: OnBad = "stop",
        lazy: bool = False,
    ) -> None:
        if not locations:
            raise ValueError("data.shards is empty: name a folder, packed by srgan pack SOURCE --scale S --out DIR")
        places = [ShardLocation(location) if isinstance(location, str) else location for location in locations]
        self.manifests: list[Manifest] = [p.manifest for p in places]
        self.hashes = [p.hash for p in places]
        """Of the manifests: what identifies the data."""
        self.scale = _one({p.location: p.manifest.scale for p in places}, "scales")
        self.encoding: Stored = _one({p.location: p.manifest.encoding for p in places}, "encodings")
        self._found = [(p, s) for p in places for s in p.manifest.shards if s.split == split]
        if not self._found:
            raise ValueError(f"{', '.join(p.location for p in places)}: no {split} split here")
        self.keys = [key for _, shard in self._found for key in shard.keys]
        self.shard = np.repeat(np.arange(len(self._found)), [len(s.keys) for _, s in self._found])
        """(N,) which shard each image is in."""
        self.table = np.concatenate([s.table for _, s in self._found])
        """(N, 11) as `manifest.Shard.table`."""
        self._firsts = np.cumsum([0, *(len(s.keys) for _, s in self._found)])
        self.bad = np.zeros(len(self.keys), np.bool_)
        """(N,) which images are corrupt, as far as their shards were opened."""
        self.maps: dict[int, memoryview] = {}
        """The bytes of the shards that are open."""
        self._on_bad: OnBad = on_bad
        if not lazy:
            self.open(range(len(self._found)))
        if split == "valid" and self.bad.any():
            self._leave_out_bad()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lr_sizes(self) -> NDArray[np.int64]:
        """Heights and widths of the LR images, int64 (N, 2)."""
        return self.table[:, LR + 2 : LR + 4]

    def where(self, image: int) -> str:
        """Shard and sample of an image, for messages."""
        place, shard = self._found[self.shard[image]]
        return f"{place.name(shard.name)}, sample {self.keys[image]}"

    def open(self, numbers: Iterable[int]) -> None:
        """Maps these shards, fetched and checked if they were not yet; several at a time.

        Raises:
            ValueError: one cannot be fetched or is corrupt.
        """
        wanted = [int(n) for n in numbers if int(n) not in self.maps]
        if not wanted:
            return
        turn = os.getpid() % len(wanted)  # processes of one machine begin with different shards, and share the work
        with ThreadPoolExecutor(min(4, len(wanted))) as pool:
            opened = dict(pool.map(self._open, wanted[turn:] + wanted[:turn]))
        for number in wanted:
            self._take(number, *opened[number])

    def close(self, number: int) -> None:
        """Lets a shard go, and its file in the cache."""
        if self.maps.pop(number, None) is not None:
            place, shard = self._found[number]
            place.drop(shard)

    def hr(self, image: int) -> Pixels:
        """One whole HR image, (H, W, 3) uint8, read only."""
        return self._image(image, HR)

    def lr(self, image: int) -> Pixels:
        """One whole LR image, (h, w, 3) uint8, read only."""
        return self._image(image, LR)

    def _image(self, image: int, column: int) -> Pixels:
        offset, length, height, width = self.table[image, column : column + 4].tolist()
        content = self.maps[int(self.shard[image])]
        if self.encoding == "raw":  # the header of a .npy comes first, the pixels are its end
            return np.ndarray((height, width, 3), np.uint8, content, offset + length - height * width * 3)
        pixels = images.decode(content[offset : offset + length], self.where(image))
        if pixels.shape != (height, width, 3):
            raise ValueError(f"{self.where(image)}: {pixels.shape[1]}x{pixels.shape[0]}, not {width}x{height}")
        return pixels

    def _open(self, number: int) -> tuple[int, tuple[Path, list[CorruptSample]]]:
        place, shard = self._found[number]
        return number, place.file(shard)

    def _take(self, number: int, file: Path, faults: list[CorruptSample]) -> None:
        place, shard = self._found[number]
        if faults:
            self._judge(place, shard, number, faults)
        self.maps[number] = _map(file)

    def _judge(self, place: ShardLocation, shard: Shard, number: int, faults: list[CorruptSample]) -> None:
        line = one_line(place.name(shard.name), shard, faults)
        if self._on_bad == "stop":
            raise ValueError(f"{line}. Fetch or pack it again, or train without it: --data.on-bad skip")
        log.warning("%s; left out", line)
        whole = faults[0].sample < 0 and "not there" in faults[0].what
        samples = range(len(shard.keys)) if whole else [f.sample for f in faults if f.sample >= 0]
        self.bad[self._firsts[number] + np.array(samples, np.int64)] = True

    def _leave_out_bad(self) -> None:
        good = np.flatnonzero(~self.bad)
        if not good.size:
            raise ValueError("every held-out sample is corrupt")
        self.keys = [self.keys[i] for i in good]
        self.shard, self.table, self.bad = self.shard[good], self.table[good], self.bad[good]


def _one(values: dict[str, T], what: str) -> T:
    if len(set(values.values())) != 1:
        raise ValueError(f"data.shards mixes {what}: {values}")
    return next(iter(values.values()))


def _map(file: Path) -> memoryview:
    if not file.exists() or not file.stat().st_size:
        return memoryview(b"")
    with file.open("rb") as content:
        return memoryview(mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ))
