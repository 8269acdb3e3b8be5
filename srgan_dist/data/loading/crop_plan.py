"""Which crop comes when: a pure function of (seed, index). See decision 1 in architecture.md."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.rng import Indices, hashed, hashed_table

_MASK = 0xFFFFFFFFFFFFFFFF
_ATTEMPTS = 64
_KEPT, _KEPT_IMAGES = 4, 1 << 16


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


class SamplingOrder(NamedTuple):
    """How a pass goes through the images, for data that is slow to reach. The defaults are for mapped shards."""

    shard: NDArray[np.int64] | None = None
    """(N,) the shard of each image; needed with `window`."""
    window: int = 0
    """Permute the shards, then the images inside this many shards at a time; 0 is the whole set at once."""
    crops_per_decode: int = 1
    """Crops that one visit of an image gives: an image that had to be decoded is used more than once."""
    decoded_cache: int = 1
    """Images that are visited together when there are several rounds; as many crops in a row are distinct."""


class CropPlan:
    """The crops of a run, by index.

    Images follow a fresh permutation in every pass over the data set, each visited once a pass, in such
    an order that any `len(sizes) // 4` crops in a row come from distinct images (SRGAN Sec. 3.2: "16 random
    96x96 HR sub images of distinct training images"), also across the border of two passes. With a window it
    is a quarter of the smallest window; with several rounds the smaller of `held` and that.

    Args:
        sizes: (N, 2) heights and widths of the LR images.
        lr_crop: side of the square crop in LR pixels.
        seed: any integer.

    Raises:
        ValueError: there are no images, or one is smaller than the crop (`.args[1]` is its number).
    """

    def __init__(
        self, sizes: NDArray[np.int64], lr_crop: int, seed: int, visits: SamplingOrder = SamplingOrder()
    ) -> None:
        if len(sizes) == 0:
            raise ValueError("the data set holds no images")
        small = np.flatnonzero(sizes.min(axis=1) < lr_crop)
        if small.size:
            h, w = sizes[small[0]]
            raise ValueError(f"its LR is {w}x{h}, smaller than the LR crop of {lr_crop}", int(small[0]))
        self._free = (
            (sizes - lr_crop + 1).astype(np.uint64).T.copy()
        )  # how many positions there are, vertically and across
        self._seed, self._visits = seed & _MASK, visits
        self._count, self._orders = len(sizes), dict[int, _Order]()

    def __call__(self, indices: Indices, bad: NDArray[np.bool_] | None = None) -> Crops:
        """The crops with these numbers, uint64 of shape (B,).

        Where the plan meets an image that is `bad`, (N,), another takes its place: the first good one of a
        fixed sequence that depends on (seed, index) alone, drawn from the same window.

        Raises:
            ValueError: too few images are good.
        """
        image = self.images(indices)
        if bad is not None and bad[image].any():
            image = self._replace(indices, image, bad)
        place = hashed(self._seed, 1, indices)
        y = _below(place >> np.uint64(32), self._free[0][image])
        x = _below(place & np.uint64(0xFFFFFFFF), self._free[1][image])
        return Crops(image, y, x, (hashed(self._seed, 2, indices) >> np.uint64(61)).astype(np.uint8))

    @property
    def crops_per_epoch(self) -> int:
        """How many crops one pass over the images is."""
        return self._count * self._visits.crops_per_decode

    def images(self, indices: Indices) -> NDArray[np.int64]:
        """Which image each crop is for, bad ones not yet replaced."""
        passes, places = self._places(indices)
        numbers, which = np.unique(passes, return_inverse=True)
        orders = self._passes(numbers)
        if len(numbers) == 1:
            return orders[int(numbers[0])].image[places]
        return np.stack([orders[int(n)].image for n in numbers])[which, places]

    def shards(self, indices: Indices) -> NDArray[np.int64]:
        """Which shards the windows of these crops consist of."""
        assert self._visits.shard is not None
        passes, places = self._places(indices)
        found = [self._order(int(p)).shards_at(places[passes == p], self._visits.shard) for p in np.unique(passes)]
        return np.unique(np.concatenate(found))

    def following_shards(self, indices: Indices) -> NDArray[np.int64]:
        """Which shards the window after the last of these crops consists of."""
        assert self._visits.shard is not None
        passes, places = self._places(indices[-1:])
        number, end = int(passes[0]), self._order(int(passes[0])).window(int(places[0]))[1]
        if end == self._count:
            number, end = number + 1, 0
        return self._order(number).shards_at(np.array([end]), self._visits.shard)

    def _places(self, indices: Indices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pass of each crop, and its image's place in the order of that pass."""
        count, crops_per_decode, decoded_cache = self._count, self._visits.crops_per_decode, self._visits.decoded_cache
        numbers = indices.astype(np.int64)
        passes, place = np.divmod(numbers, count * crops_per_decode)
        if crops_per_decode == 1:
            return passes, place
        block, inside = np.divmod(place, decoded_cache * crops_per_decode)
        members = np.minimum(decoded_cache, count - block * decoded_cache)  # the last block of a pass is smaller
        return passes, block * decoded_cache + inside % members

    def _replace(self, indices: Indices, image: NDArray[np.int64], bad: NDArray[np.bool_]) -> NDArray[np.int64]:
        passes, places = self._places(indices)
        for attempt in range(_ATTEMPTS):
            again = np.flatnonzero(bad[image])
            if not again.size:
                return image
            random = hashed(self._seed, 16 + attempt, indices[again])
            for i, r in zip(again, random, strict=True):
                order = self._order(int(passes[i]))
                first, end = order.window(int(places[i]))
                image[i] = order.image[first + int(r % np.uint64(end - first))]
        raise ValueError(f"{int(bad.sum())} of {len(bad)} samples are bad: too few are left to train on")

    def _order(self, number: int) -> "_Order":
        return self._passes(np.array([number]))[number]

    def _passes(self, numbers: NDArray[np.int64]) -> "dict[int, _Order]":
        """The orders of these passes, remembered: a small set goes through many passes in one call."""
        orders = self._orders
        missing = [int(n) for n in numbers if int(n) not in orders]
        if missing:
            if len(orders) + len(missing) > max(_KEPT, _KEPT_IMAGES // self._count):
                orders = {n: o for n, o in orders.items() if n in numbers}
            orders = orders | _orders(self._seed, missing, self._count, self._visits)
            self._orders = orders  # replaced, never changed: the reader's thread and the log's both come here
        return orders


class _Order(NamedTuple):
    image: NDArray[np.int64]
    """(N,) the images of one pass, in order."""
    borders: NDArray[np.int64]
    """Where each window begins, and N."""

    def window(self, place: int) -> tuple[int, int]:
        """First and end place of the window around a place."""
        after = int(np.searchsorted(self.borders, place, side="right"))
        return int(self.borders[after - 1]), int(self.borders[after])

    def shards_at(self, places: NDArray[np.int64], shard: NDArray[np.int64]) -> NDArray[np.int64]:
        windows = {self.window(int(p)) for p in np.unique(places)}
        return np.unique(np.concatenate([shard[self.image[first:end]] for first, end in windows]))


def _orders(seed: int, numbers: list[int], count: int, visits: SamplingOrder) -> dict[int, _Order]:
    if not visits.window or visits.shard is None:
        return _whole_orders(seed, np.array(numbers), count)
    return {n: _windowed_order(seed, n, visits.shard, visits.window) for n in numbers}


def _whole_orders(seed: int, numbers: NDArray[np.int64], count: int) -> dict[int, _Order]:
    """The orders of some passes: whoever came last in the previous pass is not among the first of this one.

    They are moved to the end of the first half, so that no pass's own end ever changes.
    """
    both = np.union1d(numbers, np.maximum(numbers - 1, 0))
    shuffled = np.argsort(hashed_table(seed, both, 4, count), axis=1, kind="stable")
    now, before = (shuffled[np.searchsorted(both, n)] for n in (numbers, np.maximum(numbers - 1, 0)))
    last = np.zeros((len(numbers), count), np.bool_)
    np.put_along_axis(last, before[:, count - count // 4 :], True, axis=1)
    last[numbers == 0] = False
    first_half = now[:, : count // 2]
    later = np.argsort(np.take_along_axis(last, first_half, axis=1), axis=1, kind="stable")
    now[:, : count // 2] = np.take_along_axis(first_half, later, axis=1)
    borders = np.array([0, count])
    return {int(n): _Order(image, borders) for n, image in zip(numbers, now, strict=True)}


def _windowed_order(seed: int, number: int, shard: NDArray[np.int64], window: int) -> _Order:
    """As `_whole_orders`, with the shards permuted first; the rule then is about the first window."""
    image, borders = _windowed_shuffle(seed, number, shard, window)
    if number:
        smallest, half = int(np.diff(borders).min()), int(borders[1]) // 2
        last = _windowed_shuffle(seed, number - 1, shard, window)[0][len(shard) - smallest // 4 :]
        again = np.isin(image[:half], last)
        image[:half] = np.concatenate([image[:half][~again], image[:half][again]])
    return _Order(image, borders)


def _windowed_shuffle(
    seed: int, number: int, shard: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    shards, numbers = int(shard.max()) + 1, np.array([number])
    order = np.argsort(hashed_table(seed, numbers, 5, shards)[0], kind="stable")
    of_shard = np.empty(shards, np.int64)
    of_shard[order] = np.arange(shards) // window
    of_image = of_shard[shard]
    borders = np.concatenate([[0], np.cumsum(np.bincount(of_image))])
    return np.lexsort((hashed_table(seed, numbers, 4, len(shard))[0], of_image)), borders


def _below(random: Indices, limit: Indices) -> NDArray[np.int64]:
    """Uniform in [0, limit) from 32 random bits, for limits far below 2^32."""
    return ((random * limit) >> np.uint64(32)).astype(np.int64)
