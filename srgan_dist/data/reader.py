"""Crops from shards at memory speed, and the thread that keeps the device fed. DESIGN decision 2."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srgan_dist.data.format import MANIFEST, Manifest, Shard, Split, read_manifest, sha256_of
from srgan_dist.data.plan import CropPlan, Crops
from srgan_dist.resize import Pixels


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which crops the networks see."""

    shards: tuple[str, ...] = ()
    """Folders of packed shards; their `train` split is trained on, their `valid` split judged on."""

    hr_crop: int = 96
    """Side of a training crop in HR pixels; a multiple of the scale."""

    batch: int = 16
    """Crops per process and step."""


class Pair(NamedTuple):
    """A batch on its device: lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1], channels_last."""

    lr: Tensor
    hr: Tensor
    indices: NDArray[np.uint64] | None = None
    """Which crops of the run these are, (B,)."""
    sharpened: Tensor | None = None
    """What a degradation wants pixel and content terms to compare with, where that is not hr."""

    @property
    def target(self) -> Tensor:
        """What pixel and content terms compare with; the discriminator sees hr."""
        return self.hr if self.sharpened is None else self.sharpened


class RawBatch(NamedTuple):
    """A batch as it leaves the CPU: uint8 NHWC, and the orientation that the device will apply."""

    lr: Tensor
    hr: Tensor
    orientation: Tensor
    indices: NDArray[np.uint64]


class ShardSet:
    """The images of one split of one or more folders of raw shards, mapped into memory.

    Raises:
        ValueError: no such shards, mixed scales, or a shard that is not as long as its manifest says.
    """

    def __init__(self, folders: tuple[str, ...], split: Split) -> None:
        if not folders:
            raise ValueError("data.shards is empty: name a folder, packed by srgan pack SOURCE --scale S --out DIR")
        manifests = {folder: read_manifest(Path(folder)) for folder in folders}
        self.manifests: list[Manifest] = list(manifests.values())
        self.hashes = [sha256_of(Path(folder) / MANIFEST) for folder in folders]
        """Of the manifests: what identifies the data."""
        self.scale = _one_scale(manifests)
        found = [(Path(f), s) for f, m in manifests.items() for s in m.shards if s.split == split]
        if not found:
            raise ValueError(f"{', '.join(folders)}: no {split} split here")
        self.keys = [key for _, shard in found for key in shard.keys]
        self._maps = [_map(folder, shard) for folder, shard in found]
        self._shard = np.repeat(np.arange(len(found)), [len(s.keys) for _, s in found])
        self._table = np.concatenate([s.table for _, s in found])
        self._names = [str(folder / shard.name) for folder, shard in found]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lr_sizes(self) -> np.ndarray:
        """Heights and widths of the LR images, int64 (N, 2)."""
        return self._table[:, 6:8]

    def where(self, image: int) -> str:
        """Shard and sample of an image, for messages."""
        return f"{self._names[self._shard[image]]}, sample {self.keys[image]}"

    def hr(self, image: int) -> Pixels:
        """One whole HR image, (H, W, 3) uint8, read only, not copied."""
        return self._view(image, 0)

    def lr(self, image: int) -> Pixels:
        """One whole LR image, (h, w, 3) uint8, read only, not copied."""
        return self._view(image, 4)

    def _view(self, image: int, column: int) -> Pixels:
        offset, length, height, width = self._table[image, column : column + 4].tolist()
        pixels = height * width * 3  # the header of a .npy comes first, the pixels are its end
        return np.ndarray((height, width, 3), np.uint8, self._maps[self._shard[image]], offset + length - pixels)


def _one_scale(manifests: dict[str, Manifest]) -> int:
    scales = {folder: m.scale for folder, m in manifests.items()}
    for folder, m in manifests.items():
        if m.encoding != "raw":
            raise ValueError(f"{folder}: encoding {m.encoding} cannot be mapped; pack it with --encoding raw")
    if len(set(scales.values())) != 1:
        raise ValueError(f"data.shards mixes scales: {scales}")
    return next(iter(scales.values()))


def _map(folder: Path, shard: Shard) -> np.memmap:
    file = folder / shard.name
    try:
        length = file.stat().st_size
    except FileNotFoundError:
        raise ValueError(f"{file}: named in the manifest, but not there") from None
    if length != shard.bytes:
        raise ValueError(f"{file}: {length} bytes, the manifest says {shard.bytes}; fetch or pack it again")
    return np.memmap(file, np.uint8, "r")


class CropReader:
    """Cuts the crops that the plan names.

    Raises:
        ValueError: `hr_crop` is not a multiple of the scale, or an image is smaller than the crop.
    """

    def __init__(self, shards: ShardSet, hr_crop: int, seed: int) -> None:
        if hr_crop % shards.scale:
            raise ValueError(f"data.hr_crop={hr_crop} must be a multiple of scale={shards.scale}")
        self._shards, self._scale = shards, shards.scale
        self._lr_crop = hr_crop // shards.scale
        try:
            self.plan = CropPlan(shards.lr_sizes, self._lr_crop, seed)
        except ValueError as error:
            if len(error.args) == 2:
                raise ValueError(f"{shards.where(error.args[1])}: {error.args[0]}; lower data.hr_crop") from None
            raise

    def empty(self, batch: int, pinned: bool) -> RawBatch:
        """Memory for a batch."""
        s, c = self._scale, self._lr_crop
        lr = torch.empty((batch, c, c, 3), dtype=torch.uint8, pin_memory=pinned)
        hr = torch.empty((batch, s * c, s * c, 3), dtype=torch.uint8, pin_memory=pinned)
        orientation = torch.empty(batch, dtype=torch.uint8, pin_memory=pinned)
        return RawBatch(lr, hr, orientation, np.empty(batch, np.uint64))

    def fill(self, batch: RawBatch, first: int) -> None:
        """Cuts the crops `first`, `first + 1`, ... into `batch`."""
        batch.indices[:] = np.arange(first, first + len(batch.lr), dtype=np.uint64)
        crops = self.plan(batch.indices)
        batch.orientation.numpy()[:] = crops.orientation
        self._cut(crops, batch.lr.numpy(), batch.hr.numpy())

    def describe(self, first: int, count: int) -> str:
        """The crops `first`, `first + 1`, ... and the images they come from, for messages."""
        crops = self.plan(np.arange(first, first + count, dtype=np.uint64))
        images = ", ".join(dict.fromkeys(self._shards.keys[i] for i in crops.image.tolist()))
        return f"Crops {first} to {first + count - 1} come from {images}."

    def _cut(self, crops: Crops, lr: Pixels, hr: Pixels) -> None:
        s, c, shards = self._scale, self._lr_crop, self._shards
        for j, (image, y, x) in enumerate(zip(crops.image.tolist(), crops.y.tolist(), crops.x.tolist(), strict=True)):
            lr[j] = shards.lr(image)[y : y + c, x : x + c]
            hr[j] = shards.hr(image)[s * y : s * (y + c), s * x : s * (x + c)]


def to_device(raw: RawBatch, device: torch.device) -> Pair:
    """Moves a batch and makes it what the networks take: oriented, float, channels_last."""
    orientation = raw.orientation.to(device, non_blocking=True)
    lr, hr = (_floats(orient(t.to(device, non_blocking=True), orientation)) for t in (raw.lr, raw.hr))
    return Pair(lr, hr, raw.indices)


def orient(images: Tensor, orientation: Tensor) -> Tensor:
    """Applies one of the eight orientations (see `plan.Crops`) to each of (B, H, H, 3)."""
    bits = [((orientation >> b) & 1).bool().view(-1, 1, 1, 1) for b in range(3)]
    images = torch.where(bits[0], images.flip(2), images)
    images = torch.where(bits[1], images.flip(1), images)
    return torch.where(bits[2], images.transpose(1, 2), images)


def _floats(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float().div_(255)  # NHWC in memory is channels_last, nothing is copied


class BatchStream:
    """Batches on the device, read ahead by one thread.

    Args:
        starts: the index of the first crop of each batch, without end.
    """

    def __init__(self, reader: CropReader, batch: int, starts: Iterable[int], device: torch.device) -> None:
        self._reader, self._batch, self._device = reader, batch, device
        self._ready: queue.Queue[RawBatch | BaseException] = queue.Queue(maxsize=2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(starts,), name="crops", daemon=True)
        self._thread.start()

    def _read(self, starts: Iterable[int]) -> None:
        try:
            for first in starts:
                raw = self._reader.empty(self._batch, pinned=self._device.type == "cuda")
                self._reader.fill(raw, first)
                self._put(raw)
                if self._stop.is_set():
                    return
        except BaseException as error:  # handed to the training thread, which raises it
            self._put(error)

    def _put(self, item: RawBatch | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def __iter__(self) -> Iterator[Pair]:
        while True:
            yield next(self)

    def __next__(self) -> Pair:
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return to_device(item, self._device)

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()
