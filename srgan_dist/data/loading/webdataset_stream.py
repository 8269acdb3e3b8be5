"""Training straight from WebDataset URLs: no manifest, no disk, through webdataset's own pipeline.

See decision 2 in docs/explanation/architecture.md. Not in the paper: statistically the same as shards with a manifest;
not bit-exact on resume, nor the same for another number of processes.
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

_PICTURES = ("npy", "png", "webp", "jpg", "jpeg")
_MIXED = 512  # crops that wait to be mixed: some 15 MB at crop 96
_BUFFERS = 3


class _Crop(NamedTuple):
    lr: Pixels
    hr: Pixels


class WebStream:
    """Random crops of the samples of tars, each tar drawn anew so that no process runs dry.

    Raises:
        ValueError: no URLs, or `hr_crop` is not a multiple of the scale.
    """

    def __init__(self, config: DataConfig, scale: int, seed: int, rank: int) -> None:
        if config.hr_crop % scale:
            raise ValueError(f"data.hr_crop={config.hr_crop} must be a multiple of scale={scale}")
        self._config, self._scale, self._seed, self._rank = config, scale, seed, rank
        self.skipped = 0
        """Samples that this process left out."""

    def batches(self, batch: int, first: int, device: torch.device) -> ThreadedBatches:
        """Batches on the device. `first` only keeps a resumed run from seeing the same crops again."""
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
        rng = np.random.default_rng([self._seed, self._rank, first])
        crops = self._mixed(self._crops(self._samples(int(rng.integers(2**31))), rng), rng)
        for batch in empty:
            lr, hr = batch.lr.numpy(), batch.hr.numpy()
            for j in range(len(lr)):
                lr[j], hr[j] = next(crops)
            batch.orientation.numpy()[:] = rng.integers(0, 8, len(lr))
            batch.indices[:] = rng.integers(0, 2**63, len(lr))  # a degradation draws by them; here they are only names
            yield batch

    def _samples(self, seed: int) -> Iterator[dict[str, Any]]:
        """WebDataset samples: a dictionary of extension to bytes."""
        from webdataset.pipeline import DataPipeline  # a second, which runs on shards need not wait for
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
        if self._config.on_bad == "stop":
            raise error
        log.warning("data.stream: %s; left out", error)
        self.skipped += 1
        return True

    def _crops(self, samples: Iterable[dict[str, Any]], rng: np.random.Generator) -> Iterator[_Crop]:
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

    def _mixed(self, crops: Iterator[_Crop], rng: np.random.Generator) -> Iterator[_Crop]:
        """Crops in another order, so that a batch is not one image."""
        waiting: list[_Crop] = []
        for crop in crops:
            copied = _Crop(crop.lr.copy(), crop.hr.copy())  # a view would keep its whole image
            if len(waiting) < _MIXED:
                waiting.append(copied)
                continue
            place = int(rng.integers(_MIXED))
            yield waiting[place]
            waiting[place] = copied


def decode_pair(sample: dict[str, Any], scale: int, lr_crop: int) -> tuple[Pixels, Pixels]:
    """LR and HR of a WebDataset sample: `hr.*` and `lr.*`, or one image of which LR is made.

    Raises:
        ValueError: no image, undecodable, not in ratio, or smaller than the crop.
    """
    where = f"{sample.get('__url__', '?')}, sample {sample.get('__key__', '?')}"
    found = {part: _part(sample, part, where) for part in ("hr", "lr")}
    hr, lr = found["hr"], found["lr"]
    if hr is None:
        hr = _only_image(sample, where)
    if lr is None:
        hr = crop_for_downscaling(hr, scale, where)
        lr = downscale(hr, scale)
    match_pair(hr, lr, scale, where)
    if min(lr.shape[:2]) < lr_crop:
        raise ValueError(f"{where}: its LR is {lr.shape[1]}x{lr.shape[0]}, smaller than the LR crop of {lr_crop}")
    return lr, hr


def _part(sample: dict[str, Any], part: str, where: str) -> Pixels | None:
    for extension in _PICTURES:
        if content := sample.get(f"{part}.{extension}"):
            return _decode(content, extension, f"{where}, {part}")
    return None


def _only_image(sample: dict[str, Any], where: str) -> Pixels:
    for extension in _PICTURES:
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
