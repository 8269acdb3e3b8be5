"""Crops from shards at memory speed. See decision 2 in architecture.md.

A crop passes through three stages: the plan turns its number into an image, an offset and an orientation; a cutter
copies its bytes from the shard, or from the decoded image, into a `RawBatch`; `prefetch` moves the batch to the device.
All of this runs in the reading thread of `prefetch`. Decoding and opening shards ahead have threads of their own.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from srgan_dist.data.batch import RawBatch
from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.crop_plan import CropPlan, Crops, SamplingOrder
from srgan_dist.data.loading.decoded_images import DecodedImages, default_limit
from srgan_dist.data.loading.margins import Areas, areas, mirrored_cut
from srgan_dist.data.loading.read_advice import BATCHES_AHEAD, ReadAdvice, fits_memory
from srgan_dist.data.shards.manifest import HR, LR
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.imaging.images import Pixels

log = logging.getLogger("srgan_dist")

_BATCHES_PER_PLAN = 256
_TOGETHER = 64
"""Compressed images that are visited together by default, at least; see `crop_plan.SamplingOrder`."""


class CropReader:
    """Cuts the crops that a `CropPlan` names from a set of shards.

    Args:
        hr_crop: side of a crop in HR pixels; a multiple of the scale.
        config: window, cache and threads; its other fields are not used.
        margin: HR pixels by which the area that is cut from HR exceeds the crop, a multiple of the scale; see
            `margins`.
        step: crops per step over all processes, which come from distinct images; by default those of one batch.

    Raises:
        ValueError: `hr_crop` is not a multiple of the scale, or an image is smaller than the crop and bad ones are not
            skipped.
    """

    def __init__(
        self,
        shards: ShardSet,
        hr_crop: int,
        seed: int,
        config: DataConfig = DataConfig(),
        margin: int = 0,
        step: int | None = None,
    ) -> None:
        if hr_crop % shards.scale:
            raise ValueError(f"data.hr_crop={hr_crop} must be a multiple of scale={shards.scale}")
        self._shards, self._scale, self._window = shards, shards.scale, config.window
        self._lr_crop, self._lr_margin, self._seed = hr_crop // shards.scale, margin // shards.scale, seed
        if config.on_bad == "skip":
            _leave_out_small(shards, hr_crop)
        raw, step = shards.encoding == "raw", step or config.batch
        sampling = SamplingOrder(shards.shard, config.window) if raw else _order_for_decoding(shards, config, step)
        try:
            self.plan = CropPlan(shards.lr_sizes, self._lr_crop, seed, sampling)
        except ValueError as error:
            if len(error.args) == 2:
                raise ValueError(
                    f"{shards.describe(error.args[1])}: {error.args[0]}; use smaller crops (--data.hr-crop), leave "
                    f"such images out (--data.on-bad skip), or pack again without them (--min-side {hr_crop})"
                ) from None
            raise
        sides = {HR: hr_crop + margin, LR: self._lr_crop}
        advise = raw and not fits_memory(shards.maps.values())
        self._cut: Cutter = _MappedCutter(shards, sides, advise) if raw else _DecodingCutter(shards, sides, config)
        self._windows = _OpenWindows(shards) if config.window else None

    def empty(self, batch: int, pinned: bool) -> RawBatch:
        """Allocate an uninitialized batch of `batch` crops, in pinned memory if asked."""
        c, area = self._lr_crop, self._scale * (self._lr_crop + self._lr_margin)
        lr = torch.empty((batch, c, c, 3), dtype=torch.uint8, pin_memory=pinned)
        hr = torch.empty((batch, area, area, 3), dtype=torch.uint8, pin_memory=pinned)
        orientation = torch.empty(batch, dtype=torch.uint8, pin_memory=pinned)
        offsets = np.empty((batch, 2), np.int64) if self._lr_margin else None
        return RawBatch(lr, hr, orientation, np.empty(batch, np.uint64), offsets)

    def fill(self, batch: RawBatch, first: int) -> None:
        """Cut the crops `first`, `first + 1`, ... into `batch`."""
        for _ in self.batches(iter([batch]), first, 0, ahead=1):
            pass

    def batches(
        self, empty: Iterator[RawBatch], first: int, stride: int, ahead: int | None = None
    ) -> Iterator[RawBatch]:
        """Fill the batches of `empty`, all of one size, and yield each: crops `first`, ..., then `first + stride`, ...

        Args:
            ahead: batches to plan at a time, because planning many costs little more than planning one. By default 1
                with a window, since the shards of all planned crops must be open, and 256 without.
        """
        ahead = ahead or (1 if self._window else _BATCHES_PER_PLAN)
        for batch in empty:
            # Plan: numbers of the next `ahead` batches, (ahead, B), to crops. With a window this opens their shards.
            size = len(batch.lr)
            starts = first + stride * np.arange(ahead, dtype=np.int64)
            indices = (starts[:, None] + np.arange(size)).astype(np.uint64)
            crops, around = self._plan(indices.ravel())
            cut = self._cut(crops, around, size)
            first += stride * ahead
            # Cut: fill `batch` and its successors one by one, each taken from `empty` only when the consumer wants it.
            # `range` comes first in `zip`, which would otherwise take one batch too many from `empty` and lose it.
            for number, buffer in zip(range(ahead), chain([batch], empty), strict=False):
                buffer.indices[:] = indices[number]
                if buffer.offsets is not None:
                    buffer.offsets[:] = around.offset[number * size : (number + 1) * size]
                cut(number, buffer)
                yield buffer

    def describe(self, first: int, count: int) -> str:
        """Return a sentence that names the images of `count` crops, from crop number `first` on."""
        crops = self.plan(np.arange(first, first + count, dtype=np.uint64), self._shards.bad)
        images = ", ".join(dict.fromkeys(self._shards.keys[i] for i in crops.image.tolist()))
        return f"Crops {first} to {first + count - 1} come from {images}."

    def replaced(self, first: int, end: int) -> int:
        """Return how many of the crops `first` to `end - 1` replace bad ones; the same on every process."""
        return self._replaced_before(end) - self._replaced_before(first)

    def _replaced_before(self, end: int) -> int:
        bad = self._shards.bad
        if not bad.any():
            return 0
        epochs, rest = divmod(end, self.plan.crops_per_epoch)  # an epoch takes every image equally often
        replaced = epochs * int(bad.sum()) * self.plan.crops_per_epoch // len(bad)
        if rest:
            replaced += int(bad[self.plan.images(np.arange(end - rest, end, dtype=np.uint64))].sum())
        return replaced

    def _plan(self, indices: NDArray[np.uint64]) -> tuple[Crops, Areas]:
        if self._windows:
            self._windows.move(self.plan.shards(indices), lambda: self.plan.following_shards(indices))
        crops = self.plan(indices, self._shards.bad)  # after opening: only then is it known which samples are bad
        return crops, areas(crops, self._shards.lr_sizes, self._lr_crop, self._lr_margin, self._seed, indices)


Cut = Callable[[int, RawBatch], None]
Cutter = Callable[[Crops, Areas, int], Cut]
"""Prepares the crops of several batches of one size, and returns a function that cuts batch number `n` of them."""


Rows = NDArray[np.void]
_MAX_TARGETS = 8
_PITCH = 1 << 32


class _CropViews(dict[int, Rows]):
    """Strided views of the open shards: `views[shard * _PITCH + pitch][offset]` is the crop that starts at `offset`.

    `pitch` is the number of bytes from one row of the image to the next. A row of a crop is one element of a void dtype
    as wide as the row. So a crop is a one-dimensional strided array, and taking it from its view creates one array
    header; slicing images costs six times as much. Views are made on first use.
    """

    def __init__(self, maps: dict[int, memoryview], side: int) -> None:
        super().__init__()
        self._maps, self._side, self.row = maps, side, np.dtype(f"V{3 * side}")

    def __missing__(self, key: int) -> Rows:
        number, pitch = divmod(key, _PITCH)
        content = self._maps[number]
        offsets = len(content) - pitch * (self._side - 1) - self.row.itemsize + 1
        return self.setdefault(key, np.ndarray((offsets, self._side), self.row, content, 0, (1, pitch)))

    def drop_closed(self) -> None:
        """Remove the views of closed shards, which would keep their files open."""
        for key in [key for key in self if key // _PITCH not in self._maps]:
            del self[key]


class _MirroredView:
    """Stands for a view of `_CropViews` if the area extends beyond its image; indexed by the area's (y, x)."""

    def __init__(self, shards: ShardSet, image: int, side: int, row: np.dtype[np.void]) -> None:
        self._shards, self._image, self._side, self._row = shards, image, side, row

    def __getitem__(self, edges: tuple[int, int]) -> Rows:
        return mirrored_cut(self._shards.hr(self._image), *edges, self._side).reshape(-1).view(self._row)


class _MappedCutter:
    """Cuts crops from memory-mapped raw shards: two calls of numpy per batch, each of which gathers rows."""

    def __init__(self, shards: ShardSet, sides: dict[int, int], advise: bool) -> None:
        self._shards, self._sides = shards, sides
        table = shards.table
        self._views = {k: _CropViews(shards.maps, side) for k, side in sides.items()}
        self._scales = {HR: shards.scale, LR: 1}
        pixels = {k: 3 * table[:, k + 2] * table[:, k + 3] for k in sides}
        self._starts = {k: table[:, k] + table[:, k + 1] - pixels[k] for k in sides}  # after the header of the .npy
        self._pitches = {k: 3 * table[:, k + 3] for k in sides}
        self._targets: dict[int, _Target] = {}
        self._advice: ReadAdvice | None = ReadAdvice(shards.maps) if advise else None

    def __call__(self, crops: Crops, around: Areas, size: int) -> Cut:
        # Look up all crops at once: a view and an offset for each. No pixel is read yet.
        hr_views, hr_offsets = self._sources(HR, crops.image, around.y, around.x)
        lr_views, lr_offsets = self._sources(LR, crops.image, crops.y, crops.x)
        for j in np.flatnonzero(around.mirrored).tolist():
            hr_views[j] = _MirroredView(self._shards, int(crops.image[j]), self._sides[HR], self._views[HR].row)
            hr_offsets[j] = self._shards.scale * int(around.y[j]), self._shards.scale * int(around.x[j])
        fetch = self._fetch(crops, around, size) if self._advice else None
        if fetch:
            for number in range(BATCHES_AHEAD):
                fetch(number)

        def cut(number: int, batch: RawBatch) -> None:
            # Copy: `concatenate` reads the rows from the maps and writes them straight into the (pinned) batch.
            if fetch:
                fetch(number + BATCHES_AHEAD)
            part = slice(number * size, (number + 1) * size)
            target = self._targets.get(id(batch)) or self._target(batch)
            np.concatenate([v[o] for v, o in zip(hr_views[part], hr_offsets[part], strict=True)], out=target.hr)
            np.concatenate([v[o] for v, o in zip(lr_views[part], lr_offsets[part], strict=True)], out=target.lr)
            target.orientation[:] = crops.orientation[part]

        return cut

    def _fetch(self, crops: Crops, around: Areas, size: int) -> Callable[[int], None]:
        """Return a function that advises the kernel to read the rows of batch number `n`."""
        advice, shard = self._advice, self._shards.shard[crops.image].tolist()
        assert advice
        advice.drop_closed()
        ranges = (
            self._ranges(HR, crops.image, around.y, around.x, around.mirrored),
            self._ranges(LR, crops.image, crops.y, crops.x, np.zeros_like(around.mirrored)),
        )

        def fetch(number: int) -> None:
            part = slice(number * size, (number + 1) * size)
            for starts, lengths in ranges:
                advice.fetch(shard[part], starts[part], lengths[part])

        return fetch

    def _ranges(
        self,
        k: int,
        image: NDArray[np.int64],
        y: NDArray[np.int64],
        x: NDArray[np.int64],
        entire: NDArray[np.bool_],
    ) -> tuple[list[int], list[int]]:
        """Return the first byte and the number of bytes of the rows of each crop, or of `entire` images, (B,)."""
        pitch, side = self._pitches[k][image], self._sides[k]
        start = self._starts[k][image] + np.where(entire, 0, self._scales[k] * (y * pitch + 3 * x))
        length = np.where(entire, self._shards.table[image, k + 2] * pitch, pitch * (side - 1) + 3 * side)
        return start.tolist(), length.tolist()

    def _sources(
        self, k: int, image: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64]
    ) -> tuple[list[Any], list[Any]]:
        """Return the view of each crop at (y, x), and the byte in it at which the crop starts."""
        views, pitch = self._views[k], self._pitches[k][image]
        views.drop_closed()
        offset = self._starts[k][image] + self._scales[k] * (y * pitch + 3 * x)
        return list(map(views.__getitem__, (self._shards.shard[image] * _PITCH + pitch).tolist())), offset.tolist()

    def _target(self, batch: RawBatch) -> "_Target":
        """Return the batch as rows; remembered, because the same few buffers are filled again and again."""
        if len(self._targets) >= _MAX_TARGETS:
            self._targets.clear()
        hr, lr = (t.numpy().reshape(-1).view(self._views[k].row) for t, k in ((batch.hr, HR), (batch.lr, LR)))
        return self._targets.setdefault(id(batch), _Target(batch, hr, lr, batch.orientation.numpy()))


class _Target(NamedTuple):
    """The memory of a batch as rows of crops. It holds the batch, so that no other one can get its id."""

    batch: RawBatch
    hr: Rows
    lr: Rows
    orientation: NDArray[np.uint8]


class _DecodingCutter:
    """Cuts crops from images that a thread pool decodes ahead of their use."""

    def __init__(self, shards: ShardSet, sides: dict[int, int], config: DataConfig) -> None:
        self._shards, self._sides = shards, sides
        limit = config.decoded_mb << 20 or default_limit()
        self._images = DecodedImages(shards, limit, config.threads)

    def __call__(self, crops: Crops, around: Areas, size: int) -> Cut:
        numbers, s = crops.image.tolist(), self._shards.scale
        lr_edges = list(zip(crops.y.tolist(), crops.x.tolist(), strict=True))
        hr_edges = list(zip((s * around.y).tolist(), (s * around.x).tolist(), strict=True))
        orientation = torch.from_numpy(crops.orientation)

        def cut(number: int, batch: RawBatch) -> None:
            # Request first, so that the pool decodes the next two batches while this thread copies the present one.
            first = number * size
            self._images.request(numbers[first : first + size], numbers[first + size : first + 3 * size])
            # Copy: waits for those images of this batch that are not decoded yet.
            lr, hr = batch.lr.numpy(), batch.hr.numpy()
            for j, n in enumerate(range(first, first + size)):
                full_lr, full_hr = self._images.pair(numbers[n])
                lr[j] = _square(full_lr, *lr_edges[n], self._sides[LR])
                hr[j] = _square(full_hr, *hr_edges[n], self._sides[HR])
            batch.orientation.copy_(orientation[first : first + size])

        return cut


def _square(image: Pixels, y: int, x: int, side: int) -> Pixels:
    """Return the square at (y, x): a view if it lies inside the image, otherwise a copy of the mirrored image."""
    if min(y, x) < 0 or y + side > image.shape[0] or x + side > image.shape[1]:
        return mirrored_cut(image, y, x, side)
    return image[y : y + side, x : x + side]


class _OpenWindows:
    """Keeps the shards of the current windows open, opens the following window ahead, and closes all others."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards, self._pool = shards, ThreadPoolExecutor(1, "fetch")
        self._opening: Future[None] | None = None
        self._current: set[int] = set()

    def move(self, wanted: NDArray[np.int64], following: Callable[[], NDArray[np.int64]]) -> None:
        """Open the shards `wanted` by the next crops, and start to open those of the window after them.

        Raises:
            ValueError: a shard cannot be downloaded, or is corrupt.
        """
        current = set(wanted.tolist())
        if current == self._current:
            return
        # Wait for the background thread first: it usually opened what is wanted now. Its errors are raised here.
        if self._opening:
            self._opening.result()
        self._shards.open(current)
        # Close before opening more, so that the cache holds three windows at most: previous, current and following.
        ahead = set(following().tolist())
        keep = current | ahead | self._current  # the previous window stays: another process may be a batch behind
        for number in set(self._shards.maps) - keep:
            self._shards.close(number)
        self._current = current
        self._opening = self._pool.submit(self._shards.open, ahead)


def _order_for_decoding(shards: ShardSet, config: DataConfig, step: int) -> SamplingOrder:
    """Return an order in which the crops of a step come from distinct images, if there are enough.

    The number of images that are visited together is a multiple of the crops of a step, so that every process meets
    only its own part of them.
    """
    if config.decoded_cache:
        together, fewest = config.decoded_cache, 1
        if together < min(step, len(shards)):
            log.warning(
                "data.decoded_cache=%d is less than the %d crops of a step, so images come several times in a step; "
                "0 in a new run prevents that", together, step,
            )  # fmt: skip
    else:
        together, fewest = step * -(-_TOGETHER // step), step
    return SamplingOrder(shards.shard, config.window, config.crops_per_decode, min(together, len(shards)), fewest)


def _leave_out_small(shards: ShardSet, hr_crop: int) -> None:
    """Remove the images that are smaller than a crop from the set, and log how many there are.

    Raises:
        ValueError: all of them are smaller.
    """
    small = shards.lr_sizes.min(axis=1) < hr_crop // shards.scale
    if small.all():
        raise ValueError(f"all {len(small)} images are smaller than the crop of {hr_crop} pixels; lower --data.hr-crop")
    if small.any():
        log.warning(
            "%d of %d images are smaller than the crop of %d pixels; left out", small.sum(), len(small), hr_crop
        )
        shards.omit(small)
