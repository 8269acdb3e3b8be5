"""Training from WebDataset tars without a manifest or a cache, through webdataset's own pipeline.

See decision 2 in docs/explanation/architecture.md. Not in the paper: statistically equal to shards with a manifest, but
not bit-exact on resume, and different for another number of processes.
"""

import io
import logging
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from srgan_dist.data.batch import RawBatch
from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.prefetch import ThreadedBatches
from srgan_dist.data.pairs import crop_for_downscaling, match_pair
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import downscale

log = logging.getLogger("srgan_dist")

_IMAGE_EXTENSIONS = ("npy", "png", "webp", "jpg", "jpeg")
_SHUFFLE_BUFFER = 512  # crops; about 15 MB at crop 96
_BUFFERS = 3


class _Crop(NamedTuple):
    lr: Pixels
    hr: Pixels


class WebStream:
    """Random crops from the samples of tars, which are drawn with replacement, so that no process runs out of data.

    Raises:
        ValueError: `hr_crop` is not a multiple of the scale.
    """

    def __init__(self, config: DataConfig, scale: int, seed: int, rank: int) -> None:
        if config.hr_crop % scale:
            raise ValueError(f"data.hr_crop={config.hr_crop} must be a multiple of scale={scale}")
        self._config, self._scale, self._seed, self._rank = config, scale, seed, rank
        self.skipped = 0
        """Samples that this process has skipped so far."""

    def batches(self, batch: int, first: int, device: torch.device) -> ThreadedBatches:
        """Return an iterator over batches on the device, read ahead by one thread.

        Iterating raises a ValueError for a tar that cannot be read, and for a bad sample unless bad ones are skipped.

        Args:
            batch: crops per batch.
            first: number of the first crop; only part of the seed, so that a resumed run sees other crops.
        """
        c, b = self._config.hr_crop, batch
        pinned = device.type == "cuda"
        buffers = [
            RawBatch(
                torch.empty((b, c // self._scale, c // self._scale, 3), dtype=torch.uint8, pin_memory=pinned),
                torch.empty((b, c, c, 3), dtype=torch.uint8, pin_memory=pinned),
                torch.empty(b, dtype=torch.uint8, pin_memory=pinned),
                np.empty(b, np.uint64),
            )
            for _ in range(_BUFFERS)
        ]
        return ThreadedBatches(lambda empty: self._fill(empty, first), buffers, device)

    def _fill(self, empty: Iterator[RawBatch], first: int) -> Iterator[RawBatch]:
        """Fill the batches of `empty` and yield them. Runs in the thread of `ThreadedBatches`, as do all stages below.

        Tars become samples, samples become `crops_per_decode` crops each, and these are shuffled, because neighbors
        come from one image. Every stage is a generator, so that only one decoded sample is in memory at a time.
        """
        rng = np.random.default_rng([self._seed, self._rank, first])
        crops = self._shuffled(self._crops(self._samples(int(rng.integers(2**31))), rng), rng)
        for batch in empty:
            lr, hr = batch.lr.numpy(), batch.hr.numpy()
            for j in range(len(lr)):
                lr[j], hr[j] = next(crops)
            batch.orientation.numpy()[:] = rng.integers(0, 8, len(lr))
            batch.indices[:] = rng.integers(0, 2**63, len(lr))  # they only seed the degradation of each crop
            yield batch

    def _samples(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield WebDataset samples without end: dictionaries from extension to bytes, plus `__key__` and `__url__`.

        Raises:
            ValueError: a tar cannot be read.
        """
        from webdataset.pipeline import DataPipeline  # slow to load; runs on shards do not need it
        from webdataset.shardlists import ResampledShards, expand_urls
        from webdataset.tariterators import tarfile_to_samples

        urls = [url for pattern in self._config.stream for url in expand_urls(pattern)]
        pipeline: Any = DataPipeline(
            ResampledShards(urls, seed=seed, deterministic=True),
            tarfile_to_samples(handler=self._handle),
        )
        try:
            yield from pipeline
        except (OSError, EOFError, tarfile.TarError) as error:
            raise ValueError(f"data.stream: {' '.join(map(str, error.args))}") from error

    def _handle(self, error: Exception) -> bool:
        """Raise `error`, or count and log it if bad samples are skipped; True tells webdataset to go on."""
        if self._config.on_bad == "stop":
            raise error
        log.warning("data.stream: %s; skipped", error)
        self.skipped += 1
        return True

    def _crops(self, samples: Iterable[dict[str, Any]], rng: np.random.Generator) -> Iterator[_Crop]:
        """Yield `crops_per_decode` random crops of each sample, as views of its images."""
        s, c = self._scale, self._config.hr_crop // self._scale
        for sample in samples:
            try:
                lr, hr = decode_pair(sample, s, c)
            except ValueError as error:
                self._handle(error)
                continue
            for _ in range(self._config.crops_per_decode):
                y, x = rng.integers(0, np.array(lr.shape[:2]) - c + 1)
                yield _Crop(lr[y : y + c, x : x + c], hr[s * y : s * (y + c), s * x : s * (x + c)])

    def _shuffled(self, crops: Iterator[_Crop], rng: np.random.Generator) -> Iterator[_Crop]:
        """Yield the crops from a shuffle buffer, so that a batch does not consist of one image."""
        buffer: list[_Crop] = []
        for crop in crops:
            copied = _Crop(crop.lr.copy(), crop.hr.copy())  # a view would keep its entire image in memory
            if len(buffer) < _SHUFFLE_BUFFER:
                buffer.append(copied)
                continue
            slot = int(rng.integers(_SHUFFLE_BUFFER))
            yield buffer[slot]
            buffer[slot] = copied


def decode_pair(sample: dict[str, Any], scale: int, lr_crop: int) -> tuple[Pixels, Pixels]:
    """Decode LR and HR, (h, w, 3) and (s*h, s*w, 3) uint8 RGB, of a WebDataset sample.

    Args:
        sample: holds `hr.*` and `lr.*`; without `lr.*` LR is downscaled from HR, without `hr.*` its only image is HR.
        lr_crop: smallest side that LR may have.

    Raises:
        ValueError: no image, one that cannot be decoded, HR not `scale` times LR, or LR smaller than `lr_crop`.
    """
    where = f"{sample.get('__url__', '?')}, sample {sample.get('__key__', '?')}"
    hr, lr = (_part(sample, part, where) for part in ("hr", "lr"))
    if hr is None:
        hr = _only_image(sample, where)
    if lr is None:
        hr = crop_for_downscaling(hr, scale, where)
        lr = downscale(hr, scale)
    match_pair(hr, lr, scale, where)
    if min(lr.shape[:2]) < lr_crop:
        raise ValueError(
            f"{where}: its LR is {lr.shape[1]}x{lr.shape[0]}, smaller than the LR crop of {lr_crop}; lower data.hr_crop"
        )
    return lr, hr


def _part(sample: dict[str, Any], part: str, where: str) -> Pixels | None:
    """Decode `hr.*` or `lr.*` of a sample, or return None if it has none."""
    for extension in _IMAGE_EXTENSIONS:
        if content := sample.get(f"{part}.{extension}"):
            return _decode(content, extension, f"{where}, {part}")
    return None


def _only_image(sample: dict[str, Any], where: str) -> Pixels:
    """Decode the image of a sample that has no `hr.*`."""
    for extension in _IMAGE_EXTENSIONS:
        if content := sample.get(extension):
            return _decode(content, extension, where)
    raise ValueError(f"{where}: no hr.* and no image among {sorted(k for k in sample if k[0] != '_')}")


def _decode(content: bytes, extension: str, where: str) -> Pixels:
    if extension != "npy":
        return images.decode(content, where)
    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"{where}: {array.dtype} of shape {array.shape}, not uint8 (H, W, 3)")
    return array
