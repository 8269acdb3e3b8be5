"""Crops from shards at memory speed: which bytes a crop is, and copying them. See decision 2 in architecture.md."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from srgan_dist.data.batch import RawBatch
from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.crop_plan import CropPlan, Crops, SamplingOrder
from srgan_dist.data.shards.manifest import HR, LR
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.imaging.images import Pixels

_AHEAD = 256


class CropReader:
    """Cuts the crops that the plan names.

    Raises:
        ValueError: `hr_crop` is not a multiple of the scale, or an image is smaller than the crop.
    """

    def __init__(self, shards: ShardSet, hr_crop: int, seed: int, config: DataConfig = DataConfig()) -> None:
        if hr_crop % shards.scale:
            raise ValueError(f"data.hr_crop={hr_crop} must be a multiple of scale={shards.scale}")
        self._shards, self._scale, self._window = shards, shards.scale, config.window
        self._lr_crop = hr_crop // shards.scale
        raw = shards.encoding == "raw"
        visits = SamplingOrder(shards.shard, config.window) if raw else _decoded(shards, config)
        try:
            self.plan = CropPlan(shards.lr_sizes, self._lr_crop, seed, visits)
        except ValueError as error:
            if len(error.args) == 2:
                raise ValueError(f"{shards.where(error.args[1])}: {error.args[0]}; lower data.hr_crop") from None
            raise
        c, s = self._lr_crop, self._scale
        self._cut: Cutter = (
            _Mapped(shards, c, s) if raw else _Decoding(shards, c, s, config.decoded_cache, config.threads)
        )
        self._windows = _Windows(shards) if config.window else None

    def empty(self, batch: int, pinned: bool) -> RawBatch:
        """Memory for a batch."""
        s, c = self._scale, self._lr_crop
        lr = torch.empty((batch, c, c, 3), dtype=torch.uint8, pin_memory=pinned)
        hr = torch.empty((batch, s * c, s * c, 3), dtype=torch.uint8, pin_memory=pinned)
        orientation = torch.empty(batch, dtype=torch.uint8, pin_memory=pinned)
        return RawBatch(lr, hr, orientation, np.empty(batch, np.uint64))

    def fill(self, batch: RawBatch, first: int) -> None:
        """Cuts the crops `first`, `first + 1`, ... into `batch`."""
        for _ in self.batches(iter([batch]), first, 0, ahead=1):
            pass

    def batches(
        self, empty: Iterator[RawBatch], first: int, stride: int, ahead: int | None = None
    ) -> Iterator[RawBatch]:
        """Fills the batches that `empty` gives, all of one size: crops `first`, ..., then `first + stride`, ...

        Args:
            ahead: batches to plan at a time: planning many costs little more than planning one. With a window it is
                one, because the shards of all planned crops are open.
        """
        ahead = ahead or (1 if self._window else _AHEAD)
        for batch in empty:
            size = len(batch.lr)
            steps = first + stride * np.arange(ahead, dtype=np.int64)
            indices = (steps[:, None] + np.arange(size)).astype(np.uint64)
            cut = self._cut(self._plan(indices.ravel()), size)
            first += stride * ahead
            for number, following in zip(range(ahead), chain([batch], empty), strict=False):  # `range` first: none lost
                following.indices[:] = indices[number]
                cut(number, following)
                yield following

    def describe(self, first: int, count: int) -> str:
        """The crops `first`, `first + 1`, ... and the images they come from, for messages."""
        crops = self.plan(np.arange(first, first + count, dtype=np.uint64), self._shards.bad)
        images = ", ".join(dict.fromkeys(self._shards.keys[i] for i in crops.image.tolist()))
        return f"Crops {first} to {first + count - 1} come from {images}."

    def replaced(self, first: int, end: int) -> int:
        """How many of the crops `first`, ..., `end - 1` of the run were replaced, the same on every process."""
        return self._replaced_before(end) - self._replaced_before(first)

    def _replaced_before(self, end: int) -> int:
        bad = self._shards.bad
        if not bad.any():
            return 0
        whole, rest = divmod(end, self.plan.crops_per_epoch)  # a pass takes every image equally often
        replaced = whole * int(bad.sum()) * self.plan.crops_per_epoch // len(bad)
        if rest:
            replaced += int(bad[self.plan.images(np.arange(end - rest, end, dtype=np.uint64))].sum())
        return replaced

    def _plan(self, indices: NDArray[np.uint64]) -> Crops:
        if self._windows:
            self._windows.move(self.plan.shards(indices), lambda: self.plan.following_shards(indices))
        return self.plan(indices, self._shards.bad)


Cut = Callable[[int, RawBatch], None]
Cutter = Callable[[Crops, int], Cut]
"""Prepares the crops of many batches of one size; what it gives cuts batch number `n` of them."""


Rows = NDArray[np.void]
_REMEMBERED = 8
_PITCH = 1 << 32


class _Views(dict[int, Rows]):
    """Open shards as crops: by shard and bytes from row to row, `view[offset]` is the crop that begins there.

    A row of a crop is one element of a void dtype as wide as the row, so that a crop is a one-dimensional strided
    array, and taking it from its view costs one header; slicing images costs six times as much. A view is made
    when it is first asked for.
    """

    def __init__(self, maps: dict[int, memoryview], side: int) -> None:
        super().__init__()
        self._maps, self._side, self.row = maps, side, np.dtype(f"V{3 * side}")

    def __missing__(self, key: int) -> Rows:
        number, pitch = divmod(key, _PITCH)
        content = self._maps[number]
        places = len(content) - pitch * (self._side - 1) - self.row.itemsize + 1
        return self.setdefault(key, np.ndarray((places, self._side), self.row, content, 0, (1, pitch)))

    def drop_closed(self) -> None:
        """A view keeps the file of its shard open."""
        for key in [key for key in self if key // _PITCH not in self._maps]:
            del self[key]


class _Mapped:
    """Cuts crops out of mapped raw shards: two calls of numpy a batch, each a gather of rows."""

    def __init__(self, shards: ShardSet, lr_crop: int, scale: int) -> None:
        self._shards = shards
        table, sides = shards.table, {HR: lr_crop * scale, LR: lr_crop}
        self._views = {k: _Views(shards.maps, side) for k, side in sides.items()}
        self._scales = {HR: scale, LR: 1}
        pixels = {k: 3 * table[:, k + 2] * table[:, k + 3] for k in sides}
        self._starts = {k: table[:, k] + table[:, k + 1] - pixels[k] for k in sides}  # behind the header of the .npy
        self._pitches = {k: 3 * table[:, k + 3] for k in sides}
        self._targets: dict[int, _Target] = {}

    def __call__(self, crops: Crops, size: int) -> Cut:
        shard = self._shards.shard[crops.image]
        (hr_views, hr_offsets), (lr_views, lr_offsets) = (self._sources(k, crops, shard) for k in (HR, LR))

        def cut(number: int, batch: RawBatch) -> None:
            here = slice(number * size, (number + 1) * size)
            target = self._targets.get(id(batch)) or self._target(batch)
            np.concatenate([v[o] for v, o in zip(hr_views[here], hr_offsets[here], strict=True)], out=target.hr)
            np.concatenate([v[o] for v, o in zip(lr_views[here], lr_offsets[here], strict=True)], out=target.lr)
            target.orientation[:] = crops.orientation[here]

        return cut

    def _sources(self, k: int, crops: Crops, shard: NDArray[np.int64]) -> tuple[list[Rows], list[int]]:
        """The view of each crop, and where in it the crop begins."""
        views, pitch = self._views[k], self._pitches[k][crops.image]
        views.drop_closed()
        offset = self._starts[k][crops.image] + self._scales[k] * (crops.y * pitch + 3 * crops.x)
        return list(map(views.__getitem__, (shard * _PITCH + pitch).tolist())), offset.tolist()

    def _target(self, batch: RawBatch) -> "_Target":
        """The batch as rows; remembered, because the same few buffers come again and again."""
        if len(self._targets) >= _REMEMBERED:
            self._targets.clear()
        hr, lr = (t.numpy().reshape(-1).view(self._views[k].row) for t, k in ((batch.hr, HR), (batch.lr, LR)))
        return self._targets.setdefault(id(batch), _Target(batch, hr, lr, batch.orientation.numpy()))


class _Target(NamedTuple):
    """A batch's memory; holding the batch keeps its id its own."""

    batch: RawBatch
    hr: Rows
    lr: Rows
    orientation: NDArray[np.uint8]


class _Decoding:
    """Cuts crops out of images that threads decode ahead of their use."""

    def __init__(self, shards: ShardSet, lr_crop: int, scale: int, decoded_cache: int, threads: int) -> None:
        self._shards, self._crop, self._scale = shards, lr_crop, scale
        self._held, self._pool = decoded_cache, ThreadPoolExecutor(threads, "decode")
        self._pictures: OrderedDict[int, Future[tuple[Pixels, Pixels]]] = OrderedDict()

    def __call__(self, crops: Crops, size: int) -> Cut:
        images, places = crops.image.tolist(), list(zip(crops.y.tolist(), crops.x.tolist(), strict=True))
        orientation = torch.from_numpy(crops.orientation)

        def cut(number: int, batch: RawBatch) -> None:
            first = number * size
            for image in dict.fromkeys(images[first : first + 3 * size]):  # this batch, and two to come
                self._want(image)
            lr, hr = batch.lr.numpy(), batch.hr.numpy()
            for j in range(size):
                self._copy(images[first + j], *places[first + j], lr[j], hr[j])
            batch.orientation.copy_(orientation[first : first + size])
            while len(self._pictures) > self._held + 3 * size:
                self._pictures.popitem(last=False)

        return cut

    def _want(self, image: int) -> None:
        if image in self._pictures:
            self._pictures.move_to_end(image)
        else:
            self._pictures[image] = self._pool.submit(lambda: (self._shards.lr(image), self._shards.hr(image)))

    def _copy(self, image: int, y: int, x: int, lr: Pixels, hr: Pixels) -> None:
        c, s = self._crop, self._scale
        whole_lr, whole_hr = self._pictures[image].result()
        lr[...] = whole_lr[y : y + c, x : x + c]
        hr[...] = whole_hr[s * y : s * (y + c), s * x : s * (x + c)]


class _Windows:
    """Keeps the shards of the windows in use open, fetches the next ones ahead, and lets old ones go."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards, self._pool = shards, ThreadPoolExecutor(1, "fetch")
        self._ahead: Future[None] | None = None
        self._now: set[int] = set()

    def move(self, wanted: NDArray[np.int64], following: Callable[[], NDArray[np.int64]]) -> None:
        """The shards of the crops to come, and those of the window after them."""
        now = set(wanted.tolist())
        if now == self._now:
            return
        if self._ahead:
            self._ahead.result()  # raises what went wrong
        self._shards.open(now)
        ahead = set(following().tolist())
        keep = now | ahead | self._now  # what was just left stays: another process may be a batch behind
        for number in set(self._shards.maps) - keep:
            self._shards.close(number)
        self._now = now
        self._ahead = self._pool.submit(self._shards.open, ahead)


def _decoded(shards: ShardSet, config: DataConfig) -> SamplingOrder:
    return SamplingOrder(shards.shard, config.window, config.crops_per_decode, min(config.decoded_cache, len(shards)))
