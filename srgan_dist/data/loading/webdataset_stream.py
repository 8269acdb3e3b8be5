"""Training from WebDataset tars without a manifest or a cache.

See decision 2 in docs/explanation/architecture.md. Not in the paper: statistically equal to shards with a manifest, but
not bit-exact on resume, and different for another number of processes.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import numpy as np
import torch

from srgan_dist.data.batch import RawBatch
from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.prefetch import ThreadedBatches
from srgan_dist.data.loading.stream_pairs import BrokenPair, PairRule, Sample, decide_rule, has_image, pair_samples
from srgan_dist.data.loading.tar_stream import IMAGE_EXTENSIONS, check_stream, expand, tar_samples
from srgan_dist.data.pairs import crop_for_downscaling, match_pair
from srgan_dist.data.shards.npy import decode_npy
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import downscale
from srgan_dist.utils.addresses import public

log = logging.getLogger("srgan_dist")

_FIRST_CROPS, _MOST_CROPS, _BUFFER_BYTES = 512, 4096, 128 << 20
"""Crops in the shuffle buffer at first and at most, and bytes of HR in it (unless the first crops are more)."""
_OPEN_TARS = 4
"""Tars that are read at a time."""
_BUFFERS = 3
_LOGGED = 10
"""Skipped samples that are logged one by one."""


class _CorruptTarError(ValueError):
    """What is corrupt and must not be skipped."""


class _Source(NamedTuple):
    url: str
    key: str


class _Crop(NamedTuple):
    lr: Pixels
    hr: Pixels
    source: _Source


class WebStream:
    """Random crops from the samples of tars, which each process reads in its own order, round after round.

    Args:
        allow_pipe: whether the command line allows shell commands in `config.stream`.

    Raises:
        ValueError: `hr_crop` is not a multiple of the scale, or see `tar_stream.check_stream`.
    """

    def __init__(self, config: DataConfig, scale: int, seed: int, rank: int, allow_pipe: bool = False) -> None:
        check_stream(config.stream, allow_pipe)
        if config.hr_crop % scale:
            raise ValueError(f"data.hr_crop={config.hr_crop} must be a multiple of scale={scale}")
        self._config, self._scale, self._seed, self._rank = config, scale, seed, rank
        self.skipped = 0
        """Samples that this process has skipped so far."""

    def batches(self, batch: int, first: int, device: torch.device) -> ThreadedBatches:
        """Return an iterator over batches on the device, read ahead by one thread.

        Iterating raises a ValueError for a tar that cannot be read, for a tar without samples and for a bad sample,
        unless they are skipped; and after a round over all tars without a usable sample.

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
        closing = threading.Event()
        return ThreadedBatches(lambda empty: self._fill(empty, first, closing), buffers, device, closing)

    def _fill(self, empty: Iterator[RawBatch], first: int, closing: threading.Event) -> Iterator[RawBatch]:
        """Fill the batches of `empty` and yield them. Runs in the thread of `ThreadedBatches`, as do all stages below.

        Tars become samples, samples become `crops_per_decode` crops each, and these are shuffled, because neighbors
        come from one image. Every stage is a generator, and the order depends on the seed only: at most `threads` + 1
        decoded samples are in memory. The crops end when `closing` is set, which is looked at between members of a tar.
        """
        rng = np.random.default_rng([self._seed, self._rank, first])
        crops = self._shuffled(self._crops(rng, closing.is_set), rng)
        for batch in empty:
            lr, hr = batch.lr.numpy(), batch.hr.numpy()
            for j in range(len(lr)):
                crop = next(crops, None)
                if crop is None:
                    return
                lr[j], hr[j] = crop.lr, crop.hr
            batch.orientation.numpy()[:] = rng.integers(0, 8, len(lr))
            batch.indices[:] = rng.integers(0, 2**63, len(lr))  # they only seed the degradation of each crop
            yield batch

    def _crops(self, rng: np.random.Generator, stopped: Callable[[], bool]) -> Iterator[_Crop]:
        """Yield `crops_per_decode` random crops of each sample, as views of its images, in rounds over all tars.

        Raises:
            ValueError: a round over all tars had no usable sample, or see `_skip`.
        """
        tars = [tar for pattern in self._config.stream for tar in expand(pattern)]
        rule = self._rule(tars, stopped)
        with ThreadPoolExecutor(max(1, self._config.threads), "decode") as pool:
            while True:
                usable = 0
                order = [tars[number] for number in rng.permutation(len(tars))]
                for source, (lr, hr) in self._decoded(self._mixed(order, rule, stopped), pool):
                    usable += 1
                    yield from self._cut(lr, hr, source, rng)
                if stopped():
                    return
                if not usable:
                    more = f" or in the other {len(tars) - 1} tars" if len(tars) > 1 else ""
                    raise ValueError(f"data.stream: no usable sample in {public(tars[0])}{more}")

    def _rule(self, tars: list[str], stopped: Callable[[], bool]) -> PairRule:
        """Return the rule for pairs, from the first tar that has an image: the same one in every process.

        What is wrong with the tars is left to the round over all of them.

        Raises:
            ValueError: see `decide_rule`.
        """
        for tar in tars:
            samples = tar_samples(tar, stopped)
            with suppress(ValueError):
                first = list(islice((s for s in samples if has_image(s)), 2))
                with suppress(ValueError):  # a shell command fails when its output is closed early
                    samples.close()
                if first:
                    break
        else:
            return PairRule("alone", "")
        rule = decide_rule(first, self._scale)
        if self._rank == 0:
            log.info("data.stream: %s: %s", public(tar), rule.describe())
        return rule

    def _mixed(self, tars: list[str], rule: PairRule, stopped: Callable[[], bool]) -> Iterator[Sample | BrokenPair]:
        """Yield the samples of all tars in a fixed order, one by one from a few tars at a time."""
        waiting = iter(tars)
        reading = deque(self._samples(tar, rule, stopped) for tar in islice(waiting, _OPEN_TARS))
        while reading:
            samples = reading.popleft()
            if (sample := next(samples, None)) is not None:
                reading.append(samples)
                yield sample
            elif tar := next(waiting, None):
                reading.append(self._samples(tar, rule, stopped))

    def _samples(self, tar: str, rule: PairRule, stopped: Callable[[], bool]) -> Iterator[Sample | BrokenPair]:
        """Yield the samples of one tar."""
        found = 0
        try:
            for sample in pair_samples(tar_samples(tar, stopped), rule, self._scale):
                found += 1
                yield sample
        except ValueError as error:
            self._skip(str(error), error)
        else:
            if not found and not stopped():
                self._skip(f"data.stream: {public(tar)}: no samples", None)

    def _decoded(
        self, samples: Iterator[Sample | BrokenPair], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[_Source, tuple[Pixels, Pixels]]]:
        """Yield LR and HR of the usable samples in the order of `samples`, decoded ahead by the threads of the pool."""
        pending: deque[tuple[_Source, Future[tuple[Pixels, Pixels]]]] = deque()
        for sample in chain(samples, repeat(None)):
            if sample is not None:
                pending.append((_source(sample), pool.submit(self._decode, sample)))
                if len(pending) <= self._config.threads:
                    continue
            if not pending:
                return
            source, decoding = pending.popleft()
            try:
                pair = decoding.result()
            except ValueError as error:
                self._skip(f"data.stream: {error}", error)
                continue
            yield source, pair

    def _decode(self, sample: Sample | BrokenPair) -> tuple[Pixels, Pixels]:
        if isinstance(sample, BrokenPair):
            raise ValueError(f"{sample.url}, sample {sample.key}: {sample.what}")
        return decode_pair(sample, self._scale, self._config.hr_crop // self._scale)

    def _skip(self, line: str, error: Exception | None) -> None:
        """Count and log what is skipped, or raise a ValueError if it is not to be skipped."""
        if self._config.on_bad == "stop":
            raise _CorruptTarError(f"{line}. To skip corrupt samples: --data.on-bad skip") from error
        self.skipped += 1
        if self.skipped <= _LOGGED:
            log.warning("%s; skipped", line)
        elif self.skipped.bit_count() == 1:  # a power of two: a stream repeats its samples, and so its bad ones
            log.warning("data.stream: %d samples and tars skipped so far", self.skipped)

    def _cut(self, lr: Pixels, hr: Pixels, source: _Source, rng: np.random.Generator) -> Iterator[_Crop]:
        s, c = self._scale, self._config.hr_crop // self._scale
        for _ in range(self._config.crops_per_decode):
            y, x = rng.integers(0, np.array(lr.shape[:2]) - c + 1)
            yield _Crop(lr[y : y + c, x : x + c], hr[s * y : s * (y + c), s * x : s * (x + c)], source)

    def _shuffled(self, crops: Iterator[_Crop], rng: np.random.Generator) -> Iterator[_Crop]:
        """Yield the crops from a shuffle buffer, so that a batch does not consist of one image.

        It starts small, so that the first batch does not wait long, and keeps every other crop until it is full.
        """
        buffer: list[_Crop] = []
        most = max(_FIRST_CROPS, min(_MOST_CROPS, _BUFFER_BYTES // (3 * self._config.hr_crop**2)))
        for number, crop in enumerate(crops):
            # A view would keep its entire image in memory.
            copied = _Crop(crop.lr.copy(), crop.hr.copy(), crop.source)
            if len(buffer) < _FIRST_CROPS or (number % 2 and len(buffer) < most):
                buffer.append(copied)
                if len(buffer) == most and self._rank == 0:
                    self._log_mixture(buffer)
                continue
            slot = int(rng.integers(len(buffer)))
            yield buffer[slot]
            buffer[slot] = copied

    def _log_mixture(self, buffer: list[_Crop]) -> None:
        sources = {crop.source for crop in buffer}
        log.info(
            "data.stream: batches are drawn from %d crops of %d neighboring samples of %d tars; if the tars are "
            "sorted, by class for example, shuffle or pack them",
            len(buffer), len(sources), len({source.url for source in sources}),
        )  # fmt: skip


def _source(sample: Sample | BrokenPair) -> _Source:
    if isinstance(sample, BrokenPair):
        return _Source(sample.url, sample.key)
    return _Source(sample["__url__"], sample["__key__"])


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
    for extension in IMAGE_EXTENSIONS:
        if content := sample.get(f"{part}.{extension}"):
            return _decode(content, extension, f"{where}, {part}")
    return None


def _only_image(sample: dict[str, Any], where: str) -> Pixels:
    """Decode the image of a sample that has no `hr.*`."""
    for extension in IMAGE_EXTENSIONS:
        if content := sample.get(extension):
            return _decode(content, extension, where)
    raise ValueError(f"{where}: no hr.* and no image among {sorted(k for k in sample if not k.startswith('_'))}")


def _decode(content: bytes, extension: str, where: str) -> Pixels:
    return decode_npy(content, where) if extension == "npy" else images.decode(content, where)
