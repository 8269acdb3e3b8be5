"""Decoded images of compressed shards, in memory of a bounded size."""

import os
from collections import OrderedDict
from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from srgan_dist.data.shards.manifest import HR, LR
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.imaging.images import Pixels
from srgan_dist.utils.memory import free_bytes

_SHARE = 4  # by default decoded images take a quarter of the free memory


def default_limit() -> int:
    """Return the bytes that decoded images of this process may take: a quarter of its share of the free memory."""
    return free_bytes(torch.device("cpu")) // _SHARE // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


class DecodedImages:
    """Images that a thread pool decodes ahead of their use, and that stay in memory for their next crops.

    Args:
        limit: bytes that the images may take. Only those of a single batch may exceed it.
        threads: decoding threads.
    """

    def __init__(self, shards: ShardSet, limit: int, threads: int) -> None:
        self._shards, self._limit, self._pool = shards, limit, ThreadPoolExecutor(threads, "decode")
        self._images: OrderedDict[int, Future[tuple[Pixels, Pixels]]] = OrderedDict()
        table = shards.table
        self._sizes = 3 * (table[:, HR + 2] * table[:, HR + 3] + table[:, LR + 2] * table[:, LR + 3])
        self.bytes: int = 0
        """Bytes of all images that are decoded or being decoded."""

    def request(self, now: Sequence[int], ahead: Sequence[int]) -> None:
        """Start to decode images, and drop the least recently used others if that is needed to make room.

        Args:
            now: images of the present batch, all of which are decoded.
            ahead: images of the following batches in order, which are decoded as far as there is room.
        """
        present = dict.fromkeys(now)
        following = [i for i in dict.fromkeys(ahead) if i not in present]
        for image in [*following, *present]:  # mark them as recently used, those of this batch last
            if image in self._images:
                self._images.move_to_end(image)
        for image in present:
            self._make_room(image, spared=present.keys())
            self._add(image)
        spared = {*present, *following}
        for image in following:
            if not self._make_room(image, spared):
                break
            self._add(image)

    def pair(self, image: int) -> tuple[Pixels, Pixels]:
        """Return LR and HR of an image of the present batch, once it is decoded."""
        return self._images[image].result()

    def _make_room(self, image: int, spared: Container[int]) -> bool:
        """Drop images that are not spared, oldest first, until there is room; return whether there is room."""
        while image not in self._images and self.bytes + self._sizes[image] > self._limit:
            oldest = next(iter(self._images), None)
            if oldest is None or oldest in spared:
                return False
            self._images.pop(oldest).cancel()
            self.bytes -= int(self._sizes[oldest])
        return True

    def _add(self, image: int) -> None:
        if image not in self._images:
            self.bytes += int(self._sizes[image])
            self._images[image] = self._pool.submit(lambda: (self._shards.lr(image), self._shards.hr(image)))
