"""What a training run asks of its data, whichever way the data comes."""

import logging

import torch

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.prefetch import Batches, BatchStream
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.loading.webdataset_stream import WebStream
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.shard_set import ShardSet

log = logging.getLogger("srgan_dist")


class ShardFeed:
    """Crops from shards with a manifest: the same for any number of processes and resumes."""

    def __init__(self, config: DataConfig, places: list[ShardLocation], seed: int) -> None:
        shards = ShardSet(places, "train", config.on_bad, lazy=config.window > 0)
        self._reader = CropReader(shards, config.hr_crop, seed, config)
        self.places: list[ShardLocation] = places
        """Where the shards are, with their manifests."""
        self.hashes: list[str] = shards.hashes
        """Of the manifests: what identifies the data."""
        self.degradation: str = shards.manifests[0].degradation
        self.images: int | None = len(shards)
        """Of the training split; None where nobody knows."""
        self.summary: str = f"{len(shards)} training images at x{shards.scale}"

    def batches(self, batch: int, first: int, stride: int, device: torch.device) -> Batches:
        """The batches of one process from crop `first` on; the crops of all processes are `stride` apart."""
        return BatchStream(self._reader, batch, first, stride, device)

    def describe(self, first: int, count: int) -> str:
        """Which images these crops of the run come from."""
        return self._reader.describe(first, count)

    def replaced(self, first: int, end: int) -> int:
        """How many of these crops of the run replace corrupt ones; the same on every process."""
        return self._reader.replaced(first, end)


class StreamFeed:
    """Crops straight from WebDataset URLs."""

    def __init__(self, config: DataConfig, scale: int, seed: int, rank: int) -> None:
        self._stream = WebStream(config, scale, seed, rank)
        self.places: list[ShardLocation] = []
        self.hashes: list[str] = []
        self.degradation: str = "given"
        self.images: int | None = None
        self.summary: str = f"streaming {len(config.stream)} URL(s) at x{scale}, not bit-exact on resume"

    def batches(self, batch: int, first: int, stride: int, device: torch.device) -> Batches:
        """The batches of one process; `first` only keeps a resumed run from repeating itself."""
        del stride
        return self._stream.batches(batch, first, device)

    def describe(self, first: int, count: int) -> str:
        """A stream does not know which images its crops come from."""
        return f"Crops {first} to {first + count - 1} came from a stream."

    def replaced(self, first: int, end: int) -> int:
        """Samples that this process has left out so far."""
        del first, end
        return self._stream.skipped


Feed = ShardFeed | StreamFeed


def open_data(config: DataConfig, scale: int, seed: int, rank: int) -> tuple[Feed, ShardSet | None]:
    """The training data of a run, and the `valid` split of its shards where there is one.

    Raises:
        ValueError: shards that are missing, corrupt, or of another scale.
    """
    places = [ShardLocation(location, config.cache) for location in config.shards]
    for place in places:
        if place.manifest.scale != scale:
            raise ValueError(f"scale={scale}, but {place.location} was packed at scale={place.manifest.scale}")
    if config.stream and config.shards:
        log.info("data.stream is trained on; of data.shards only the valid split is used")
    feed = StreamFeed(config, scale, seed, rank) if config.stream else ShardFeed(config, places, seed)
    if any(p.manifest.samples("valid") for p in places):
        return feed, ShardSet(places, "valid", config.on_bad)
    log.warning("%s: no valid split, so nothing is evaluated during training", ", ".join(config.shards) or "no shards")
    return feed, None
