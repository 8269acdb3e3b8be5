"""Which data a run is trained on, as its configuration says it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OnBad = Literal["stop", "skip"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which crops the networks see."""

    shards: tuple[str, ...] = ()
    """Folders of packed shards, or their URLs (hf://datasets/USER/NAME, s3://, https://); their `train` split is
    trained on, their `valid` split evaluated on."""

    hr_crop: int = 96
    """Side of a training crop in HR pixels; a multiple of the scale."""

    batch: int = 16
    """Crops per process and step."""

    on_bad: OnBad = "stop"
    """skip replaces corrupt samples by others, by a fixed rule, and counts the crops in the logs."""

    stream: tuple[str, ...] = ()
    """WebDataset tars (URLs or files, {000..012} is expanded) to train on without manifest and without disk. Not
    bit-exact on resume."""

    cache: Path | None = None
    """Where fetched shards are kept; $SRGAN_CACHE or ~/.cache/srgan_dist when not given."""

    window: int = 0
    """For data larger than the disk: so many shards are used, and kept, at a time. 0 keeps all."""

    crops_per_decode: int = 8
    """Crops that one decoding of a png or webp gives. Raw shards need no decoding."""

    decoded_cache: int = 64
    """Images that stay decoded, in all processes together; at least the crops of a step. Not for raw shards."""

    threads: int = 2
    """That decode, per process. Changes the speed only."""
