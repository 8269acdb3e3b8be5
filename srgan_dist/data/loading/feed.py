"""The training data of a run, from packed shards or from a WebDataset stream."""

import logging
from collections.abc import Callable

import torch

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.prefetch import Batches, BatchStream
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.loading.webdataset_stream import WebStream
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.shard_set import ShardSet

log = logging.getLogger("srgan_dist")


class ShardFeed:
    """Crops from shards with a manifest: the same for any number of processes and after any resume.

    Args:
        margin: HR pixels by which the HR images of a batch exceed the crops, for a degradation; see `margins`.

    Raises:
        ValueError: see `ShardSet` and `CropReader`.
    """

    def __init__(self, config: DataConfig, locations: list[ShardLocation], seed: int, margin: int = 0) -> None:
        shards = ShardSet(locations, "train", config.on_bad, lazy=config.window > 0)
        self._make_reader: Callable[[int], CropReader] = lambda step: CropReader(
            shards, config.hr_crop, seed, config, margin, step
        )
        self._step = config.batch
        self._reader = self._make_reader(self._step)
        self.places: list[ShardLocation] = locations
        """Locations of the shards, with their manifests."""
        self.hashes: list[str] = shards.hashes
        """SHA-256 of each manifest; identifies the data."""
        self.degradation: str = shards.manifests[0].degradation
        """How LR was made, see `Manifest.degradation`."""
        self.images: int | None = len(shards)
        """Number of training images; None if unknown."""
        self.summary: str = f"{len(shards)} training images at x{shards.scale}"
        """The data in a few words, for the log."""

    def batches(self, batch: int, first: int, stride: int, device: torch.device) -> Batches:
        """Return an iterator over the batches of one process, read ahead by a thread; see `BatchStream`.

        Args:
            batch: crops per batch.
            first: number of the first crop of the first batch.
            stride: crops from one batch to the next: those of all processes together.
        """
        if stride != self._step:  # only now is it known how many crops a step has, which decides on their order
            self._step, self._reader = stride, self._make_reader(stride)
        return BatchStream(self._reader, batch, first, stride, device)

    def describe(self, first: int, count: int) -> str:
        """Return a sentence that names the images of `count` crops of the run, from crop number `first` on."""
        return self._reader.describe(first, count)

    def replaced(self, first: int, end: int) -> int:
        """Return how many of the crops `first` to `end - 1` replace corrupt ones; the same on every process."""
        return self._reader.replaced(first, end)


class StreamFeed:
    """Crops streamed from WebDataset tars. Attributes and methods are those of `ShardFeed`.

    Raises:
        ValueError: see `WebStream`.
    """

    def __init__(self, config: DataConfig, scale: int, seed: int, rank: int, allow_pipe: bool = False) -> None:
        self._stream = WebStream(config, scale, seed, rank, allow_pipe)
        self.places: list[ShardLocation] = []
        self.hashes: list[str] = []
        self.degradation: str = "given"
        self.images: int | None = None
        self.summary: str = f"streaming {len(config.stream)} URL(s) at x{scale}, not bit-exact on resume"

    def batches(self, batch: int, first: int, stride: int, device: torch.device) -> Batches:
        """Return an iterator over the batches of this process; `first` only seeds them, so that a resume differs."""
        del stride
        return self._stream.batches(batch, first, device)

    def describe(self, first: int, count: int) -> str:
        """Return a sentence that says that a stream does not record which images its crops come from."""
        return f"Crops {first} to {first + count - 1} came from a stream, which does not record their images."

    def replaced(self, first: int, end: int) -> int:
        """Return how many samples this process has skipped so far."""
        del first, end
        return self._stream.skipped


Feed = ShardFeed | StreamFeed


def open_data(
    config: DataConfig, scale: int, seed: int, rank: int, margin: int = 0, *, allow_pipe: bool = False
) -> tuple[Feed, ShardSet | None]:
    """Open the training data of a run.

    Args:
        margin: see `ShardFeed`; streams have none.
        allow_pipe: whether the command line allows shell commands in `data.stream`.

    Returns:
        The training data, and the `valid` split of the shards, or None if they have none.

    Raises:
        ValueError: shards are missing, corrupt or of another scale, or `hr_crop` does not fit them.
    """
    locations = [ShardLocation(location, config.cache) for location in config.shards]
    for location in locations:
        packed = location.manifest.scale
        if packed != scale:
            raise ValueError(
                f"scale={scale}, but {location.location} was packed at scale={packed}; pass --scale {packed} or pack "
                f"the images again"
            )
    if config.stream and config.shards:
        log.info("training on data.stream; of data.shards only the valid split is used")
    if config.stream and margin:
        log.warning("data.stream: crops of a stream are degraded without the margin of %d pixels", margin)
    feed = (
        StreamFeed(config, scale, seed, rank, allow_pipe)
        if config.stream
        else ShardFeed(config, locations, seed, margin)
    )
    if any(p.manifest.samples("valid") for p in locations):
        return feed, ShardSet(locations, "valid", config.on_bad)
    log.warning(
        "%s: no valid split, so there is no evaluation during training",
        ", ".join(location.location for location in locations) or "data.shards is empty",
    )
    return feed, None
