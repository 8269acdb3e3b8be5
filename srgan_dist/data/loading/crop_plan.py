"""Which crop comes when: a pure function of (seed, index). See decision 1 in architecture.md.

An epoch here is one visit to each image, which gives `crops_per_decode` crops.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.rng import Indices, hashed, hashed_table

_MASK = 0xFFFFFFFFFFFFFFFF
_ATTEMPTS = 64
_MAX_ORDERS, _MAX_ORDER_IMAGES = 4, 1 << 16
"""Remember this many epoch orders, and more as long as they hold at most so many images altogether."""


class Crops(NamedTuple):
    """Positions of the crops of a batch; arrays of shape (B,)."""

    image: NDArray[np.int64]
    """Number of the image in the data set."""
    y: NDArray[np.int64]
    """Top edge in LR pixels; the HR edge is `scale` times that."""
    x: NDArray[np.int64]
    """Left edge in LR pixels."""
    orientation: NDArray[np.uint8]
    """0 to 7: bit 0 mirrors left-right, bit 1 top-bottom, bit 2 transposes, in this order."""


class SamplingOrder(NamedTuple):
    """How an epoch goes through images that are slow to reach. The defaults are for memory-mapped shards."""

    shard: NDArray[np.int64] | None = None
    """Shard of each image, (N,); required with `window`."""
    window: int = 0
    """Permute the shards, then the images within this many shards at a time; 0 permutes all images at once."""
    crops_per_decode: int = 1
    """Crops per visit to an image; above 1 where images have to be decoded."""
    decoded_cache: int = 1
    """Images that are visited together if `crops_per_decode` is above 1; this many consecutive crops are distinct."""
    fewest: int = 1
    """If fewer images than this remain at the end of an epoch, they are visited together with those before them."""


class CropPlan:
    """The crops of a run, by index.

    Every epoch visits each image once, in a new permutation. Any `len(sizes) // 4` consecutive crops come from distinct
    images, also across epochs (SRGAN Sec. 3.2: "16 random 96x96 HR sub images of distinct training images"). With a
    window the number is a quarter of the smallest window; with several crops per decode also at most `decoded_cache`.

    Args:
        sizes: heights and widths of the LR images, (N, 2).
        lr_crop: side of the square crop in LR pixels.
        seed: any integer.
        sampling: order of the images within an epoch.

    Raises:
        ValueError: there are no images, or one is smaller than the crop (`.args[1]` is its number).
    """

    def __init__(
        self, sizes: NDArray[np.int64], lr_crop: int, seed: int, sampling: SamplingOrder = SamplingOrder()
    ) -> None:
        if len(sizes) == 0:
            raise ValueError("the data set has no images")
        small = np.flatnonzero(sizes.min(axis=1) < lr_crop)
        if small.size:
            h, w = sizes[small[0]]
            raise ValueError(f"its LR is {w}x{h}, smaller than the LR crop of {lr_crop}", int(small[0]))
        self._edges = (sizes - lr_crop + 1).astype(np.uint64).T.copy()  # how many (top, left) edges each image allows
        self._seed, self._sampling = seed & _MASK, sampling
        self._count, self._orders = len(sizes), dict[int, _EpochOrder]()

    def __call__(self, indices: Indices, bad: NDArray[np.bool_] | None = None) -> Crops:
        """Return the crops with these numbers, uint64 (B,).

        Where the plan meets an image that is `bad`, (N,), another image replaces it: the first good one of a fixed
        sequence that depends only on (seed, index), drawn from the same window.

        Raises:
            ValueError: too few images are good.
        """
        image = self.images(indices)
        if bad is not None and bad[image].any():
            image = self._replace(indices, image, bad)
        random = hashed(self._seed, 1, indices)
        y = _below(random >> np.uint64(32), self._edges[0][image])
        x = _below(random & np.uint64(0xFFFFFFFF), self._edges[1][image])
        return Crops(image, y, x, (hashed(self._seed, 2, indices) >> np.uint64(61)).astype(np.uint8))

    @property
    def crops_per_epoch(self) -> int:
        """Crops in one visit to every image."""
        return self._count * self._sampling.crops_per_decode

    def images(self, indices: Indices) -> NDArray[np.int64]:
        """Return the image of each crop, (B,), before bad images are replaced."""
        epochs, positions = self._positions(indices)
        numbers, which = np.unique(epochs, return_inverse=True)
        orders = self._epoch_orders(numbers)
        if len(numbers) == 1:
            return orders[int(numbers[0])].image[positions]
        return np.stack([orders[int(n)].image for n in numbers])[which, positions]

    def shards(self, indices: Indices) -> NDArray[np.int64]:
        """Return the numbers of the shards in the windows of these crops, sorted."""
        assert self._sampling.shard is not None
        epochs, positions = self._positions(indices)
        shards = [
            self._order(int(e)).shards_at(positions[epochs == e], self._sampling.shard) for e in np.unique(epochs)
        ]
        return np.unique(np.concatenate(shards))

    def following_shards(self, indices: Indices) -> NDArray[np.int64]:
        """Return the numbers of the shards in the window after the last of these crops, sorted."""
        assert self._sampling.shard is not None
        epochs, positions = self._positions(indices[-1:])
        epoch, end = int(epochs[0]), self._order(int(epochs[0])).window(int(positions[0]))[1]
        if end == self._count:
            epoch, end = epoch + 1, 0
        return self._order(epoch).shards_at(np.array([end]), self._sampling.shard)

    def _positions(self, indices: Indices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the epoch of each crop, and the position of its image in the order of that epoch."""
        count, repeats, cached = self._count, self._sampling.crops_per_decode, self._sampling.decoded_cache
        numbers = indices.astype(np.int64)
        epochs, within = np.divmod(numbers, count * repeats)
        if repeats == 1:
            return epochs, within
        # The epoch is divided into blocks of `cached` images; a block goes through its images `repeats` times. The last
        # block contains the images that remain, or up to `fewest` more than the others.
        blocks, rest = divmod(count, cached)
        last = max(0, blocks - 1 if rest < self._sampling.fewest else blocks)
        block = np.minimum(within // (cached * repeats), last)
        block_images = np.where(block == last, count - block * cached, cached)
        return epochs, block * cached + (within - block * cached * repeats) % block_images

    def _replace(self, indices: Indices, image: NDArray[np.int64], bad: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Replace the bad images, in place, by good ones of the same window."""
        epochs, positions = self._positions(indices)
        for attempt in range(_ATTEMPTS):
            remaining = np.flatnonzero(bad[image])
            if not remaining.size:
                return image
            random = hashed(self._seed, 16 + attempt, indices[remaining])
            for i, r in zip(remaining, random, strict=True):
                order = self._order(int(epochs[i]))
                first, end = order.window(int(positions[i]))
                image[i] = order.image[first + int(r % np.uint64(end - first))]
        raise ValueError(f"{int(bad.sum())} of {len(bad)} samples are bad: too few are left to train on")

    def _order(self, epoch: int) -> "_EpochOrder":
        return self._epoch_orders(np.array([epoch]))[epoch]

    def _epoch_orders(self, epochs: NDArray[np.int64]) -> "dict[int, _EpochOrder]":
        """Return the orders of these epochs. They are remembered: one call may span many epochs of a small data set."""
        orders = self._orders
        missing = [int(e) for e in epochs if int(e) not in orders]
        if missing:
            if len(orders) + len(missing) > max(_MAX_ORDERS, _MAX_ORDER_IMAGES // self._count):
                orders = {e: o for e, o in orders.items() if e in epochs}
            orders = orders | _orders(self._seed, missing, self._count, self._sampling)
            self._orders = orders  # replaced, never changed: the reader's thread and the training thread both come here
        return orders


class _EpochOrder(NamedTuple):
    image: NDArray[np.int64]
    """The images of one epoch in order, (N,)."""
    borders: NDArray[np.int64]
    """First position of each window, and N at the end."""

    def window(self, position: int) -> tuple[int, int]:
        """Return the first and end position of the window around `position`."""
        after = int(np.searchsorted(self.borders, position, side="right"))
        return int(self.borders[after - 1]), int(self.borders[after])

    def shards_at(self, positions: NDArray[np.int64], shard: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the shards in the windows around these positions; `shard` (N,) gives the shard of each image."""
        windows = {self.window(int(p)) for p in np.unique(positions)}
        return np.unique(np.concatenate([shard[self.image[first:end]] for first, end in windows]))


def _orders(seed: int, epochs: list[int], count: int, sampling: SamplingOrder) -> dict[int, _EpochOrder]:
    if not sampling.window or sampling.shard is None:
        return _full_orders(seed, np.array(epochs), count)
    return {e: _windowed_order(seed, e, sampling.shard, sampling.window) for e in epochs}


def _full_orders(seed: int, epochs: NDArray[np.int64], count: int) -> dict[int, _EpochOrder]:
    """Permute all images for each epoch, so that the last quarter of one epoch is not in the first quarter of the next.

    Images of that last quarter move to the end of the first half of the next epoch. The second half stays as it was
    shuffled, so an order depends only on the epoch right before it.
    """
    both = np.union1d(epochs, np.maximum(epochs - 1, 0))
    shuffled = np.argsort(hashed_table(seed, both, 4, count), axis=1, kind="stable")
    current, previous = (shuffled[np.searchsorted(both, e)] for e in (epochs, np.maximum(epochs - 1, 0)))
    recent = np.zeros((len(epochs), count), np.bool_)
    np.put_along_axis(recent, previous[:, count - count // 4 :], True, axis=1)
    recent[epochs == 0] = False
    first_half = current[:, : count // 2]
    recent_last = np.argsort(np.take_along_axis(recent, first_half, axis=1), axis=1, kind="stable")
    current[:, : count // 2] = np.take_along_axis(first_half, recent_last, axis=1)
    borders = np.array([0, count])
    return {int(e): _EpochOrder(image, borders) for e, image in zip(epochs, current, strict=True)}


def _windowed_order(seed: int, epoch: int, shard: NDArray[np.int64], window: int) -> _EpochOrder:
    """Permute the shards, then the images within each window; keep epochs apart as in `_full_orders`.

    Recent images move to the end of the first half of the first window.
    """
    image, borders = _windowed_shuffle(seed, epoch, shard, window)
    if epoch:
        smallest, half = int(np.diff(borders).min()), int(borders[1]) // 2
        last = _windowed_shuffle(seed, epoch - 1, shard, window)[0][len(shard) - smallest // 4 :]
        recent = np.isin(image[:half], last)
        image[:half] = np.concatenate([image[:half][~recent], image[:half][recent]])
    return _EpochOrder(image, borders)


def _windowed_shuffle(
    seed: int, epoch: int, shard: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the images of an epoch, (N,), and the borders of its windows."""
    shards, epochs = int(shard.max()) + 1, np.array([epoch])
    order = np.argsort(hashed_table(seed, epochs, 5, shards)[0], kind="stable")
    window_of_shard = np.empty(shards, np.int64)
    window_of_shard[order] = np.arange(shards) // window
    window_of_image = window_of_shard[shard]
    borders = np.concatenate([[0], np.cumsum(np.bincount(window_of_image))])
    return np.lexsort((hashed_table(seed, epochs, 4, len(shard))[0], window_of_image)), borders


def _below(random: Indices, limit: Indices) -> NDArray[np.int64]:
    """Return uniform integers in [0, limit) from 32 random bits; `limit` must be far below 2^32."""
    return ((random * limit) >> np.uint64(32)).astype(np.int64)
