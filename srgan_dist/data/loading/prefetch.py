"""Batches on the device: a thread fills pinned buffers ahead; the device then orients and converts them."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from srgan_dist.data.batch import Pair, RawBatch
from srgan_dist.data.loading.reader import CropReader

_POLL, _PATIENCE = 0.5, 5.0
"""Seconds between two looks at the stop request, and seconds to wait for a batch after it."""
_BUFFERS = 3  # one being filled, one ready, one being copied to the device


def to_device(raw: RawBatch, device: torch.device) -> Pair:
    """Copy a batch to the device, orient it there, and convert it to float in [0, 1], NCHW in channels_last layout.

    The copy is asynchronous if `raw` is in pinned memory.
    """
    queued = device.type == "cuda"  # other devices may read ordinary memory after it was filled again
    orientation = raw.orientation.to(device, non_blocking=queued)
    lr, hr = (_to_float(orient(t.to(device, non_blocking=queued), orientation)) for t in (raw.lr, raw.hr))
    offsets = None if raw.offsets is None else raw.offsets.copy()
    return Pair(lr, hr, raw.indices.copy(), offsets=offsets)  # copies, because the buffer will be filled again


def orient(images: Tensor, orientation: Tensor) -> Tensor:
    """Apply one of the eight orientations (see `crop_plan.Crops`), uint8 (B,), to each of the images (B, H, H, C)."""
    # `where` takes the memory layout of its first operand, so that is always the operand with the right layout.
    unchanged = [((orientation >> b) & 1 == 0).view(-1, 1, 1, 1) for b in range(3)]
    images = torch.where(unchanged[0], images, images.flip(2))
    images = torch.where(unchanged[1], images, images.flip(1))
    return torch.where(unchanged[2], images, images.transpose(1, 2))


def _to_float(images: Tensor) -> Tensor:
    """Convert uint8 NHWC to float NCHW in [0, 1]."""
    return images.permute(0, 3, 1, 2).float().div_(255)  # NHWC in memory already is channels_last


class StoppedWaitingError(Exception):
    """Training was to stop while it waited for data that does not arrive."""


class Batches(Protocol):
    """An iterator over batches on the device."""

    stop_requested: Callable[[], str]
    """Returns why training is to stop, or an empty string; called while `__next__` waits."""

    def __next__(self) -> Pair: ...

    def close(self) -> None:
        """Stop the reading thread and wait for it."""
        ...


def _gpu_number(device: torch.device) -> int | None:
    """Return the number of a GPU, None for other devices. One process alone has the device "cuda", without a number."""
    if device.type != "cuda":
        return None
    return torch.cuda.current_device() if str(device) == "cuda" else device.index


Fill = Callable[[Iterator[RawBatch]], Iterator[RawBatch]]
"""Takes empty batches from an iterator, and yields them filled, one at a time."""


class ThreadedBatches:
    """Batches that one thread fills ahead, in a few buffers that are reused.

    Empty buffers travel to the reading thread in one queue and come back full in another:

        training thread                                     reading thread
        __next__: copy to the device  -- _empty: buffer, event -->  _free_buffers: wait for the copy
        __next__: take                <-- _ready: full buffer  ---  fill: cut the crops

    Args:
        fill: fills the buffers; runs in the reading thread.
        buffers: batches to fill, pinned if `device` is a GPU.
        closing: set by `close`, so that a thread that finds no data ends, too.
    """

    def __init__(
        self, fill: Fill, buffers: list[RawBatch], device: torch.device, closing: threading.Event | None = None
    ) -> None:
        self._device, self._closing = device, closing or threading.Event()
        self._gpu = _gpu_number(device)
        self.stop_requested: Callable[[], str] = lambda: ""
        self._empty: queue.SimpleQueue[tuple[RawBatch, torch.cuda.Event | None] | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[RawBatch | BaseException | None] = queue.SimpleQueue()
        for buffer in buffers:
            self._empty.put((buffer, None))
        self._thread = threading.Thread(target=self._read, args=(fill,), name="crops", daemon=True)
        self._thread.start()

    def _read(self, fill: Fill) -> None:
        """Run in the reading thread until the data or the empty buffers end."""
        try:
            if self._gpu is not None:
                torch.cuda.set_device(self._gpu)  # a new thread would otherwise open a context on the first GPU
            for raw in fill(self._free_buffers()):
                self._ready.put(raw)
            self._ready.put(None)
        except BaseException as error:  # handed to the training thread, which raises it
            self._ready.put(error)

    def _free_buffers(self) -> Iterator[RawBatch]:
        """Yield buffers once the device has read them, until `close` puts None."""
        while (item := self._empty.get()) is not None:
            raw, copied = item
            if copied:
                copied.synchronize()  # the device may still be reading from the buffer
            yield raw

    def __iter__(self) -> Iterator[Pair]:
        return self

    def __next__(self) -> Pair:
        raw = self._wait()
        if raw is None:
            raise StopIteration
        if isinstance(raw, BaseException):
            self._ready.put(raw)  # every further call raises it again
            raise raw
        # The copies are only enqueued here. The event after them tells the reading thread when the buffer is free.
        pair = to_device(raw, self._device)
        self._empty.put((raw, _record(self._device)))
        return pair

    def _wait(self) -> RawBatch | BaseException | None:
        """Return the next full buffer, or what `_read` has put at the end.

        Raises:
            StoppedWaitingError: training is to stop, and no batch has arrived for some seconds.
        """
        deadline = 0.0
        while True:
            try:
                return self._ready.get(timeout=_POLL)
            except queue.Empty:
                reason = self.stop_requested()
            now = time.monotonic()
            deadline = deadline or (now + _PATIENCE if reason else 0.0)
            if reason and now >= deadline:
                raise StoppedWaitingError(reason)

    def close(self) -> None:
        """Stop the reading thread and wait for it, but not for a server or a disk that does not respond."""
        self._closing.set()
        self._empty.put(None)
        self._thread.join(_PATIENCE)


def _record(device: torch.device) -> torch.cuda.Event | None:
    """Record an event behind the copies that are enqueued on the device; None on a CPU."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event(blocking=True)  # lets the reading thread sleep instead of spinning on a core
    event.record(torch.cuda.current_stream(device))
    return event


class BatchStream(ThreadedBatches):
    """Batches of a `CropReader` on the device, read ahead by one thread.

    Args:
        batch: crops per batch.
        first: number of the first crop of the first batch.
        stride: crops from one batch to the next: those of all processes together.
    """

    def __init__(self, reader: CropReader, batch: int, first: int, stride: int, device: torch.device) -> None:
        buffers = [reader.empty(batch, pinned=device.type == "cuda") for _ in range(_BUFFERS)]
        super().__init__(lambda empty: reader.batches(empty, first, stride), buffers, device)
