"""Advice to the kernel about the rows of planned crops, for sets of raw shards that do not fit the memory.

By default the kernel reads far beyond each page that a crop touches, which suits files that are read from start to end.
Here it is told to read single pages only, and to fetch the rows of planned crops before they are needed.
"""

import mmap
from collections.abc import Iterable, Sequence

import torch

from srgan_dist.utils.memory import free_bytes

BATCHES_AHEAD = 4
"""Batches whose rows are fetched before they are cut."""
_AVAILABLE = hasattr(mmap, "MADV_RANDOM") and hasattr(mmap, "MADV_WILLNEED")  # neither exists on Windows


def fits_memory(maps: Iterable[memoryview]) -> bool:
    """Return whether the page cache can hold all of these shards in the memory that is free now."""
    return sum(m.nbytes for m in maps) <= free_bytes(torch.device("cpu"))


class ReadAdvice:
    """Tells the kernel which bytes of memory-mapped shards are needed next.

    Args:
        maps: the bytes of the open shards by number; shards may be opened and closed later.
    """

    def __init__(self, maps: dict[int, memoryview]) -> None:
        self._maps = maps
        self._random: dict[int, memoryview] = {}
        """Shards of which the kernel knows that they are read at random."""

    def fetch(self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Start to read ranges of bytes, each in the shard of the same position; without madvise do nothing."""
        if not _AVAILABLE:
            return
        for number, start, length in zip(shards, starts, lengths, strict=True):
            content = self._maps.get(number)
            if content is None or not isinstance(content.obj, mmap.mmap):  # closed, or empty
                continue
            if self._random.get(number) is not content:
                content.obj.madvise(mmap.MADV_RANDOM)
                self._random[number] = content
            first = start - start % mmap.PAGESIZE
            content.obj.madvise(mmap.MADV_WILLNEED, first, start + length - first)

    def drop_closed(self) -> None:
        """Forget closed shards, which would otherwise stay mapped."""
        for number in [n for n, content in self._random.items() if self._maps.get(n) is not content]:
            del self._random[number]
