"""The configuration of the training data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OnBad = Literal["stop", "skip"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The training data, and how crops are read from it."""

    shards: tuple[str, ...] = ()
    """Folders of packed shards, or their URLs (hf://datasets/USER/NAME, s3://, https://). Training uses their `train`
    split, evaluation their `valid` split."""

    hr_crop: int = 96
    """Side of a training crop in HR pixels; a multiple of the scale."""

    batch: int = 16
    """Crops per process and step."""

    on_bad: OnBad = "stop"
    """What to do about corrupt samples: stop, or replace them by a fixed rule and log how many crops were replaced."""

    stream: tuple[str, ...] = ()
    """WebDataset tars (URLs or files; {000..012} is expanded) to train on without a manifest or a cache. Not bit-exact
    on resume. A shell command, pipe:COMMAND, also needs --allow-pipe."""

    cache: Path | None = None
    """Folder for downloaded shards; $SRGAN_CACHE or ~/.cache/srgan_dist if not given."""

    window: int = 0
    """Shards to draw crops from at a time, for data sets larger than the disk; the cache keeps at most three windows. 0
    means all shards."""

    crops_per_decode: int = 8
    """Crops to cut from a png or webp image each time it is decoded. Raw shards need no decoding."""

    decoded_cache: int = 0
    """Compressed images that are visited together, counted over all processes: this many consecutive crops come from
    distinct images. 0 means a multiple of the crops of a step, at least 64. Not used for raw shards."""

    decoded_mb: int = 0
    """MiB of decoded images that a process may keep; those of a batch may exceed it. 0 means a quarter of the free
    memory, divided by the processes of the machine. Affects only memory and speed."""

    threads: int = 2
    """Decoding threads per process; affects only the speed."""
