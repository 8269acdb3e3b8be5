"""Batches on the device: one thread reads ahead into pinned memory, the device turns, floats and lays out."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from srgan_dist.data.batch import Pair, RawBatch
from srgan_dist.data.loading.reader import CropReader

_BUFFERS = 3  # one being filled, one ready, one on its way to the device


def to_device(raw: RawBatch, device: torch.device) -> Pair:
    """Moves a batch and makes it what the networks take: oriented, float, channels_last."""
    orientation = raw.orientation.to(device, non_blocking=True)
    lr, hr = (_floats(orient(t.to(device, non_blocking=True), orientation)) for t in (raw.lr, raw.hr))
    return Pair(lr, hr, raw.indices.copy())  # the buffer will be filled again


def orient(images: Tensor, orientation: Tensor) -> Tensor:
    """Applies one of the eight orientations (see `crop_plan.Crops`) to each of (B, H, H, 3)."""
    # `where` takes the memory layout of its first operand, so the one that is laid out as it should be comes first.
    same = [((orientation >> b) & 1 == 0).view(-1, 1, 1, 1) for b in range(3)]
    images = torch.where(same[0], images, images.flip(2))
    images = torch.where(same[1], images, images.flip(1))
    return torch.where(same[2], images, images.transpose(1, 2))


def _floats(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float().div_(255)  # NHWC in memory is channels_last, nothing is copied


class Batches(Protocol):
    """A stream of batches on the device."""

    def __next__(self) -> Pair: ...

    def close(self) -> None:
        """Ends its thread."""
        ...


Fill = Callable[[Iterator[RawBatch]], Iterator[RawBatch]]
"""Takes empty batches and gives them back full, one at a time."""


class ThreadedBatches:
    """Batches that one thread fills ahead, in a few buffers that are used again and again."""

    def __init__(self, fill: Fill, buffers: list[RawBatch], device: torch.device) -> None:
        self._device = device
        self._empty: queue.SimpleQueue[tuple[RawBatch, torch.cuda.Event | None] | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[RawBatch | BaseException | None] = queue.SimpleQueue()
        for buffer in buffers:
            self._empty.put((buffer, None))
        self._thread = threading.Thread(target=self._read, args=(fill,), name="crops", daemon=True)
        self._thread.start()

    def _read(self, fill: Fill) -> None:
        try:
            if self._device.type == "cuda":
                torch.cuda.set_device(self._device)  # a thread of its own would open a context on the first GPU
            for raw in fill(self._buffers()):
                self._ready.put(raw)
            self._ready.put(None)
        except BaseException as error:  # handed to the training thread, which raises it
            self._ready.put(error)

    def _buffers(self) -> Iterator[RawBatch]:
        while (item := self._empty.get()) is not None:
            raw, copied = item
            if copied:
                copied.synchronize()  # the device may still be reading from it
            yield raw

    def __iter__(self) -> Iterator[Pair]:
        return self

    def __next__(self) -> Pair:
        raw = self._ready.get()
        if raw is None:
            raise StopIteration
        if isinstance(raw, BaseException):
            self._ready.put(raw)  # whoever asks again hears it again
            raise raw
        pair = to_device(raw, self._device)
        self._empty.put((raw, _record(self._device)))
        return pair

    def close(self) -> None:
        """Ends the thread."""
        self._empty.put(None)
        self._thread.join()


def _record(device: torch.device) -> torch.cuda.Event | None:
    if device.type != "cuda":
        return None
    event = torch.cuda.Event(blocking=True)  # the reader sleeps until the copy is done; else it takes a core
    event.record(torch.cuda.current_stream(device))
    return event


class BatchStream(ThreadedBatches):
    """Batches `first`, `first + stride`, ... of a reader on the device, read ahead by one thread.

    Args:
        first: index of the first crop of the first batch.
        stride: how far the index moves from one batch to the next: the crops of all processes together.
    """

    def __init__(self, reader: CropReader, batch: int, first: int, stride: int, device: torch.device) -> None:
        buffers = [reader.empty(batch, pinned=device.type == "cuda") for _ in range(_BUFFERS)]
        super().__init__(lambda empty: reader.batches(empty, first, stride), buffers, device)
