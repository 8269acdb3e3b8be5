"""Which crop comes when: a pure function of (seed, index). DESIGN decision 1."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.counter import Indices, below, hash_one, hashed

_MASK = 0xFFFFFFFFFFFFFFFF


class Crops(NamedTuple):
    """Where each crop of a batch is cut; arrays of shape (B,)."""

    image: NDArray[np.int64]
    """Which image of the data set."""
    y: NDArray[np.int64]
    """Top edge, in LR pixels; the HR edge is `scale` times that."""
    x: NDArray[np.int64]
    """Left edge, in LR pixels."""
    orientation: NDArray[np.uint8]
    """0 to 7: bit 0 mirrors left-right, bit 1 top-bottom, bit 2 transposes, in this order."""


class CropPlan:
    """The crops of a run, by index.

    Images follow a fresh permutation in every pass over the data set, each visited once a pass, in such
    an order that any `len(sizes) // 4` crops in a row come from distinct images (SRGAN Sec. 3.2: "16 random
    96x96 HR sub images of distinct training images"), also across the border of two passes.

    Args:
        sizes: (N, 2) heights and widths of the LR images.
        lr_crop: side of the square crop in LR pixels.
        seed: any integer.

    Raises:
        ValueError: there are no images, or one is smaller than the crop (`.args[1]` is its number).
    """

    def __init__(self, sizes: NDArray[np.int64], lr_crop: int, seed: int) -> None:
        if len(sizes) == 0:
            raise ValueError("the data set holds no images")
        small = np.flatnonzero(sizes.min(axis=1) < lr_crop)
        if small.size:
            h, w = sizes[small[0]]
            raise ValueError(f"its LR is {w}x{h}, smaller than the LR crop of {lr_crop}", int(small[0]))
        self._free = (sizes - lr_crop + 1).astype(np.uint64)  # how many positions there are, vertically and across
        self._seed = seed & _MASK

    def __call__(self, indices: Indices) -> Crops:
        """The crops with these numbers, uint64 of shape (B,)."""
        count = np.uint64(len(self._free))
        passes, places = indices // count, (indices % count).astype(np.int64)
        image = np.empty(len(indices), np.int64)
        for p in np.unique(passes):
            here = passes == p
            image[here] = _order(self._seed, int(p), len(self._free))[places[here]]
        y, x = (
            below(hashed(self._seed, stream, indices), self._free[image, axis]) for stream, axis in ((1, 0), (2, 1))
        )
        return Crops(image, y, x, (hashed(self._seed, 3, indices) >> np.uint64(61)).astype(np.uint8))


@lru_cache(maxsize=4)
def _order(seed: int, number: int, count: int) -> NDArray[np.int64]:
    """The order of images in pass `number`, of shape (count,)."""
    order = _shuffle(seed, number, count)
    if number:  # whoever came last in the previous pass goes to the end of this one's first half
        half = count // 2
        last = _shuffle(seed, number - 1, count)[count - count // 4 :]
        again = np.isin(order[:half], last)
        order[:half] = np.concatenate([order[:half][~again], order[:half][again]])
    return order


def _shuffle(seed: int, number: int, count: int) -> NDArray[np.int64]:
    keys = hashed(hash_one(seed, number), 4, np.arange(count, dtype=np.uint64))
    return np.argsort(keys, kind="stable")
