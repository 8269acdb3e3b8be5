"""The images of one split of packed shards, local or remote."""

import logging
import mmap
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.config import OnBad
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.manifest import HR, LR, Manifest, Shard, Split, Stored
from srgan_dist.data.shards.verify import CorruptSample, is_missing, one_line
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels

T = TypeVar("T")

log = logging.getLogger("srgan_dist")

_ATTEMPTS = 4
"""How often a shard is fetched that other runs remove from the cache before it is mapped."""


class ShardSet:
    """The images of one split of one or more folders (or URLs) of shards, memory-mapped.

    Args:
        locations: folders, URLs of any scheme that fsspec supports, or locations that are already open.
        on_bad: `stop` raises for a corrupt sample; `skip` marks it in `bad`, or omits it if the split is `valid`.
        lazy: open a shard only when `open` is called for it.

    Raises:
        ValueError: there are no such shards, their scales or encodings differ, or one is corrupt; the message names the
            shard and the sample.
    """

    def __init__(
        self,
        locations: Sequence[str | ShardLocation],
        split: Split,
        on_bad: OnBad = "stop",
        lazy: bool = False,
    ) -> None:
        if not locations:
            raise ValueError(
                "data.shards is empty: name a folder of shards; srgan pack SOURCE --scale S --out DIR makes one"
            )
        opened = [ShardLocation(location) if isinstance(location, str) else location for location in locations]
        self.manifests: list[Manifest] = [o.manifest for o in opened]
        self.hashes = [o.hash for o in opened]
        """SHA-256 of each manifest; identifies the data."""
        self.scale = _single_value({o.location: o.manifest.scale for o in opened}, "scales")
        self.encoding: Stored = _single_value({o.location: o.manifest.encoding for o in opened}, "encodings")
        self._shards = [(o, s) for o in opened for s in o.manifest.shards if s.split == split]
        if not self._shards:
            raise ValueError(f"{', '.join(o.location for o in opened)}: no {split} split here")
        self.keys = [key for _, shard in self._shards for key in shard.keys]
        """Key of each image in its shard."""
        self.shard = np.repeat(np.arange(len(self._shards)), [len(s.keys) for _, s in self._shards])
        """Number of the shard of each image, int64 (N,)."""
        self.table = np.concatenate([s.table for _, s in self._shards])
        """The rows of `manifest.Shard.table` of all shards, int64 (N, 11)."""
        self._firsts = np.cumsum([0, *(len(s.keys) for _, s in self._shards)])
        self.bad = np.zeros(len(self.keys), np.bool_)
        """Which images are corrupt, bool (N,); known only for shards that have been opened."""
        self.maps: dict[int, memoryview] = {}
        """The bytes of each open shard, by its number."""
        self._numbers = np.arange(len(self.keys))
        """Number of each image in the manifests, int64 (N,)."""
        self._on_bad: OnBad = on_bad
        if not lazy:
            self.open(range(len(self._shards)))
        if split == "valid" and self.bad.any():
            self._omit_bad()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lr_sizes(self) -> NDArray[np.int64]:
        """Heights and widths of the LR images in pixels, int64 (N, 2)."""
        return self.table[:, LR + 2 : LR + 4]

    def describe(self, image: int) -> str:
        """Return the shard and the sample of an image, for messages."""
        location, shard = self._shards[self.shard[image]]
        return f"{location.name(shard.name)}, sample {self.keys[image]}"

    def open(self, numbers: Iterable[int]) -> None:
        """Map the shards with these numbers into memory; download and verify them first if that was not done before.

        Raises:
            ValueError: a shard cannot be downloaded, or is corrupt and `on_bad` is `stop`.
        """
        wanted = [int(n) for n in numbers if int(n) not in self.maps]
        if not wanted:
            return
        # Every process of a machine starts with another shard, so that they share the downloads and the verification.
        offset = os.getpid() % len(wanted)
        with ThreadPoolExecutor(min(4, len(wanted))) as pool:
            opened = dict(pool.map(self._fetch_and_map, wanted[offset:] + wanted[:offset]))
        for number in wanted:
            self._take(number, *opened[number])

    def close(self, number: int) -> None:
        """Unmap a shard, and remove it from the cache if this set downloaded it."""
        if self.maps.pop(number, None) is not None:
            location, shard = self._shards[number]
            location.drop(shard)

    def omit(self, images: NDArray[np.bool_]) -> None:
        """Remove images from the set, bool (N,); the others are numbered anew."""
        kept = np.flatnonzero(~images)
        self.keys = [self.keys[i] for i in kept]
        self.shard, self.table, self.bad = self.shard[kept], self.table[kept], self.bad[kept]
        self._numbers = self._numbers[kept]

    def hr(self, image: int) -> Pixels:
        """Return an HR image, (H, W, 3) uint8 RGB, read-only; its shard must be open."""
        return self._image(image, HR)

    def lr(self, image: int) -> Pixels:
        """Return an LR image, (h, w, 3) uint8 RGB, read-only; its shard must be open."""
        return self._image(image, LR)

    def _image(self, image: int, column: int) -> Pixels:
        offset, length, height, width = self.table[image, column : column + 4].tolist()
        content = self.maps[int(self.shard[image])]
        if self.encoding == "raw":  # the pixels are the end of a .npy, after its header
            return np.ndarray((height, width, 3), np.uint8, content, offset + length - height * width * 3)
        pixels = images.decode(content[offset : offset + length], self.describe(image))
        if pixels.shape != (height, width, 3):
            raise ValueError(f"{self.describe(image)}: {pixels.shape[1]}x{pixels.shape[0]}, not {width}x{height}")
        return pixels

    def _fetch_and_map(self, number: int) -> tuple[int, tuple[memoryview, list[CorruptSample]]]:
        """Return the bytes and the faults of a shard. Another run may remove its file before it is mapped; then repeat.

        Raises:
            ValueError: the shard cannot be downloaded, or its file vanishes or changes each time.
        """
        location, shard = self._shards[number]
        for _ in range(_ATTEMPTS):
            file, faults = location.file(shard)
            content = _map(file)
            if not location.is_gone(shard, faults, None if content is None else len(content)):
                return number, (memoryview(b"") if content is None else content, faults)
        raise ValueError(f"{location.name(shard.name)}: its file is removed from the cache again and again; run again")

    def _take(self, number: int, content: memoryview, faults: list[CorruptSample]) -> None:
        location, shard = self._shards[number]
        if faults:
            self._handle_faults(location, shard, number, faults)
        elif len(content) != shard.bytes:  # otherwise offsets could lie behind its end
            raise ValueError(f"{location.name(shard.name)}: the file changed while it was opened; run again")
        self.maps[number] = content

    def _handle_faults(self, location: ShardLocation, shard: Shard, number: int, faults: list[CorruptSample]) -> None:
        """Raise a ValueError for a corrupt shard, or log it and mark its corrupt samples as bad."""
        line = one_line(location.name(shard.name), shard, faults)
        if self._on_bad == "stop":
            raise ValueError(f"{line}. Download or pack the shard again, or skip corrupt samples: --data.on-bad skip")
        log.warning("%s; skipped", line)
        samples = range(len(shard.keys)) if is_missing(faults) else [f.sample for f in faults if f.sample >= 0]
        self.bad |= np.isin(self._numbers, self._firsts[number] + np.array(samples, np.int64))

    def _omit_bad(self) -> None:
        if self.bad.all():
            raise ValueError("every sample of the valid split is corrupt: download or pack the shards again")
        self.omit(self.bad)


def _single_value(values: dict[str, T], what: str) -> T:
    """Return the value that all locations share; `what` names it in the error."""
    if len(set(values.values())) != 1:
        raise ValueError(f"data.shards mixes {what}: {values}")
    return next(iter(values.values()))


def _map(file: Path) -> memoryview | None:
    """Map a file into memory, read-only; an empty view if it is empty, None if there is none."""
    with suppress(FileNotFoundError), file.open("rb") as content:
        if not os.fstat(content.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ))
    return None
