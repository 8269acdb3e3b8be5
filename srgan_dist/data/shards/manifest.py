"""The manifest of a folder of shards. `shards/README.md` specifies its format."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

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
_FIELDS = ("scale", "encoding", "degradation", "source", "software")


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

    @classmethod
    def from_json(cls, d: dict[str, Any]) -> "Shard":
        """Build a shard from its JSON form.

        Raises:
            ValueError: the columns differ in length, or the split or the name is wrong.
            KeyError: a field is missing.
        """
        table = np.array([d["samples"][name] for name in COLUMNS], np.int64).T.copy()
        if len(table) != len(d["samples"]["key"]) or d["split"] not in SPLITS or os.sep in d["name"]:
            raise ValueError(f"shard {d['name']!r}: columns of different lengths, or a wrong split or name")
        return cls(d["name"], d["split"], d["bytes"], d["sha256"], d["samples"]["key"], table)


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
            {"format": FORMAT} | {k: getattr(self, k) for k in _FIELDS} | {"shards": [s.to_json() for s in self.shards]}
        )


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder of shards.

    Raises:
        ValueError: there is none, or it is corrupt or in another format.
    """
    return parse_manifest(manifest_bytes(folder), str(folder / MANIFEST))


def manifest_bytes(folder: Path) -> bytes:
    """Read the bytes of a folder's manifest. Raises as `read_manifest`."""
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        advice = "pack it first: srgan pack SOURCE --scale S --out DIR"
        if any(folder.glob(".packing-*")):
            advice = "packing did not finish: run the same command again to continue"
        elif any(folder.glob("*.tar")):
            advice = f"index it first: srgan shards index {folder}"
        raise ValueError(f"{folder}: no {MANIFEST} here ({advice})") from None


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Parse a manifest; `where` names it in errors. Raises as `read_manifest`."""
    try:
        d: Any = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{where}: corrupt ({error})") from error
    written_as = cast(dict[str, Any], d).get("format") if isinstance(d, dict) else None
    if written_as != FORMAT:
        raise ValueError(f"{where}: format {written_as!r}, but this version reads {FORMAT!r}")
    try:
        return Manifest(*(d[k] for k in _FIELDS), shards=[Shard.from_json(s) for s in d["shards"]])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: not valid {FORMAT} ({type(error).__name__}: {error})") from error
