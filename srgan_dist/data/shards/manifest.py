"""The manifest of a folder of shards. `shards/README.md` specifies its format, and `manifest_parser` reads it."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

FORMAT = "srgan-shards/1"
MANIFEST = "manifest.json"
Encoding = Literal["raw", "png", "webp"]
Stored = Literal["raw", "png", "webp", "jpg"]
"""Encodings that a manifest may name: those of the packer, and jpg for tars of other programs."""
Split = Literal["train", "valid"]
SPLITS: tuple[Split, ...] = get_args(Split)

COLUMNS = (
    "offset", "bytes", "crc32",
    "hr_offset", "hr_bytes", "hr_height", "hr_width",
    "lr_offset", "lr_bytes", "lr_height", "lr_width",
)  # fmt: skip
HR, LR = 3, 7
"""First of the four columns (offset, bytes, height, width) of HR and of LR in `Shard.table`."""
FIELDS = ("scale", "encoding", "degradation", "source", "software")


@dataclass(frozen=True)
class Shard:
    """One tar, and the position of every sample in it."""

    name: str
    """File name, without a folder."""
    split: Split
    bytes: int
    """Size of the tar."""
    sha256: str
    """SHA-256 of the tar, in hexadecimal."""
    keys: list[str]
    """WebDataset key of each sample."""
    table: NDArray[np.int64]
    """One row per sample, int64 (samples, 11), columns as in `COLUMNS`: offset of its first tar header, length with
    headers and padding, CRC-32 of those bytes; then offset, length, height and width of `hr`, and likewise of `lr`."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, one list per column, so that 200,000 samples still load quickly."""
        columns = {name: self.table[:, i].tolist() for i, name in enumerate(COLUMNS)}
        fields = {"name": self.name, "split": self.split, "bytes": self.bytes, "sha256": self.sha256}
        return fields | {"samples": {"key": self.keys} | columns}


@dataclass(frozen=True)
class Manifest:
    """The content of a folder of shards, and how it was made."""

    scale: int
    encoding: Stored
    degradation: str
    """How LR was made: a `resize.Kernel`, or `given` if the source came with other LR images."""
    source: str
    """Label of the source, for people."""
    software: str
    """Program that wrote the shards, for people."""
    shards: list[Shard]

    def samples(self, split: Split) -> int:
        """Return the number of samples in a split."""
        return sum(len(s.keys) for s in self.shards if s.split == split)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, as `shards/README.md` specifies it."""
        return (
            {"format": FORMAT} | {k: getattr(self, k) for k in FIELDS} | {"shards": [s.to_json() for s in self.shards]}
        )
