"""The manifest: what a folder of shards holds. `shards/README.md` is the format's specification."""

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
"""What a manifest may say: the packer's encodings, and jpg in shards that others wrote."""
Split = Literal["train", "valid"]
SPLITS: tuple[Split, ...] = get_args(Split)

COLUMNS = (
    "offset", "bytes", "crc32",
    "hr_offset", "hr_bytes", "hr_height", "hr_width",
    "lr_offset", "lr_bytes", "lr_height", "lr_width",
)  # fmt: skip
HR, LR = 3, 7
"""The first of the four columns of each image in `Shard.table`."""
_HEAD = ("scale", "encoding", "degradation", "source", "software")


@dataclass(frozen=True)
class Shard:
    """One tar and where everything stands in it.

    `table` is int64 of shape (samples, 11): where a sample's members begin, how many bytes they take with
    their headers, and the CRC-32 of those bytes; then offset, length, height and width of the contents of
    `hr`, and the same of `lr`.
    """

    name: str
    split: Split
    bytes: int
    sha256: str
    keys: list[str]
    table: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """One column a list: two hundred thousand samples stay quick to read."""
        columns = {name: self.table[:, i].tolist() for i, name in enumerate(COLUMNS)}
        head = {"name": self.name, "split": self.split, "bytes": self.bytes, "sha256": self.sha256}
        return head | {"samples": {"key": self.keys} | columns}

    @classmethod
    def from_json(cls, d: dict[str, Any]) -> "Shard":
        """The inverse of `to_json`."""
        table = np.array([d["samples"][name] for name in COLUMNS], np.int64).T.copy()
        if len(table) != len(d["samples"]["key"]) or d["split"] not in SPLITS or os.sep in d["name"]:
            raise ValueError(f"shard {d['name']!r}: columns of different lengths, or a wrong split or name")
        return cls(d["name"], d["split"], d["bytes"], d["sha256"], d["samples"]["key"], table)


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds and how it was made."""

    scale: int
    encoding: Stored
    degradation: str
    """Where the LR images come from: a `resize.Kernel`, or `given` when the source had others."""
    source: str
    software: str
    shards: list[Shard]

    def samples(self, split: Split) -> int:
        """How many samples a split has."""
        return sum(len(s.keys) for s in self.shards if s.split == split)

    def to_json(self) -> dict[str, Any]:
        """As `shards/README.md` specifies."""
        return (
            {"format": FORMAT} | {k: getattr(self, k) for k in _HEAD} | {"shards": [s.to_json() for s in self.shards]}
        )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        ValueError: there is none, or it is corrupt or of another format.
    """
    return parse_manifest(manifest_bytes(folder), str(folder / MANIFEST))


def manifest_bytes(folder: Path) -> bytes:
    """The manifest of a folder as it is on disk; raises as `read_manifest`."""
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        cure = "pack it first: srgan pack SOURCE --scale S --out DIR"
        if any(folder.glob(".packing-*")):
            cure = "packing was not finished: repeat its command, it goes on where it stopped"
        elif any(folder.glob("*.tar")):
            cure = f"index it first: srgan shards index {folder}"
        raise ValueError(f"{folder}: no {MANIFEST} here ({cure})") from None


def parse_manifest(content: bytes, where: str) -> Manifest:
    """A manifest from its bytes; `where` names it in errors. Raises as `read_manifest`."""
    try:
        d: Any = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{where}: corrupt ({error})") from error
    found = cast(dict[str, Any], d).get("format") if isinstance(d, dict) else None
    if found != FORMAT:
        raise ValueError(f"{where}: format {found!r}, this version reads {FORMAT!r}")
    try:
        return Manifest(*(d[k] for k in _HEAD), shards=[Shard.from_json(s) for s in d["shards"]])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: not as the format says ({type(error).__name__}: {error})") from error
