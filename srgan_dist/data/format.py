"""The shard format: ordinary WebDataset tars beside one manifest. `shards/README.md` is its specification."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from srgan_dist.resize import Pixels

FORMAT = "srgan-shards/1"
MANIFEST = "manifest.json"
Encoding = Literal["raw", "png", "webp"]
Split = Literal["train", "valid"]

_COLUMNS = ("hr_offset", "hr_bytes", "hr_height", "hr_width", "lr_offset", "lr_bytes", "lr_height", "lr_width")


@dataclass(frozen=True)
class Shard:
    """One tar and where everything stands in it.

    `table` is int64 of shape (samples, 8), columns hr_offset, hr_bytes, hr_height, hr_width and the same for
    lr: offsets and lengths of the members' contents in bytes, sizes in pixels.
    """

    name: str
    split: Split
    bytes: int
    sha256: str
    keys: list[str]
    table: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """One column a list: two hundred thousand samples stay quick to read."""
        columns = {name: self.table[:, i].tolist() for i, name in enumerate(_COLUMNS)}
        head = {"name": self.name, "split": self.split, "bytes": self.bytes, "sha256": self.sha256}
        return head | {"samples": {"key": self.keys} | columns}

    @classmethod
    def from_json(cls, d: dict[str, Any]) -> "Shard":
        """The inverse of `to_json`."""
        table = np.array([d["samples"][name] for name in _COLUMNS], np.int64).T.copy()
        return cls(d["name"], d["split"], d["bytes"], d["sha256"], d["samples"]["key"], table)


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds and how it was made."""

    scale: int
    encoding: Encoding
    degradation: str
    """Where the LR images come from: a `resize.Kernel`, or `given` when the source had them."""
    source: str
    software: str
    shards: list[Shard]

    def samples(self, split: Split) -> int:
        """How many samples a split has."""
        return sum(len(s.keys) for s in self.shards if s.split == split)

    def to_json(self) -> dict[str, Any]:
        """As `shards/README.md` specifies."""
        head = {k: getattr(self, k) for k in ("scale", "encoding", "degradation", "source", "software")}
        return {"format": FORMAT} | head | {"shards": [s.to_json() for s in self.shards]}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        ValueError: there is none, or it is damaged or of another format.
    """
    file = folder / MANIFEST
    try:
        d = json.loads(file.read_text())
    except FileNotFoundError:
        cure = (
            "pack it first: srgan pack SOURCE --scale S --out DIR"
            if not folder.exists()
            else "packing was not finished"
        )
        raise ValueError(f"{folder}: no {MANIFEST} here ({cure})") from None
    except ValueError as error:
        raise ValueError(f"{file}: damaged ({error})") from error
    if d.get("format") != FORMAT:
        raise ValueError(f"{file}: format {d.get('format')!r}, this version reads {FORMAT!r}")
    fields = {k: d[k] for k in ("scale", "encoding", "degradation", "source", "software")}
    return Manifest(**fields, shards=[Shard.from_json(s) for s in d["shards"]])


def write_json(content: dict[str, Any], file: Path, indent: int | None = None) -> None:
    """Writes under a temporary name, syncs, renames: the file is whole or not there."""
    write_text(json.dumps(content, indent=indent, separators=(",", ": " if indent else ":")), file)


def write_text(text: str, file: Path) -> None:
    """Writes UTF-8 under a temporary name, syncs, renames: the file is whole or not there."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.replace(partial, file)


def encode(image: Pixels, encoding: Encoding) -> bytes:
    """A member's content: `.npy` of uint8 (H, W, 3), or a lossless PNG or WebP."""
    out = io.BytesIO()
    if encoding == "raw":
        np.lib.format.write_array(out, np.ascontiguousarray(image), version=(1, 0))
        return out.getvalue()
    from PIL import Image

    options: dict[str, Any] = {"compress_level": 3} if encoding == "png" else {"lossless": True, "method": 0}
    Image.fromarray(image).save(out, encoding, **options)
    return out.getvalue()


def extension(encoding: Encoding) -> str:
    """The members' last extension."""
    return "npy" if encoding == "raw" else encoding


class ShardWriter:
    """Writes one tar, byte for byte determined by what is added. Use as a context manager.

    The tar lands under its name, synced, when the block ends well; otherwise nothing is left.
    """

    def __init__(self, folder: Path, name: str, split: Split, encoding: Encoding) -> None:
        self._file, self._partial = folder / name, folder / f".{name}.partial"
        self._name: str = name
        self._split: Split = split
        self._encoding: Encoding = encoding
        self._keys: list[str] = []
        self._rows: list[tuple[int, ...]] = []

    def __enter__(self) -> "ShardWriter":
        self._out = _Hashing(self._partial.open("wb"))
        self._tar = tarfile.open(fileobj=self._out, mode="w|", format=tarfile.USTAR_FORMAT)  # pyright: ignore
        self._offset = 0
        return self

    def add(self, key: str, hr: Pixels, lr: Pixels, notes: dict[str, Any]) -> None:
        """Appends one sample: `<key>.hr.*`, `<key>.lr.*` and `<key>.json`."""
        row: list[int] = []
        for part, image in (("hr", hr), ("lr", lr)):
            content = encode(image, self._encoding)
            offset = self._member(f"{key}.{part}.{extension(self._encoding)}", content)
            row += [offset, len(content), *image.shape[:2]]
        self._member(f"{key}.json", json.dumps(notes, sort_keys=True).encode())
        self._keys.append(key)
        self._rows.append(tuple(row))

    def _member(self, name: str, content: bytes) -> int:
        info = tarfile.TarInfo(name)  # mtime 0, no owner: the same input gives the same bytes
        info.size = len(content)
        self._tar.addfile(info, io.BytesIO(content))
        start = self._offset + tarfile.BLOCKSIZE
        self._offset = start + -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        return start

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._tar.close()
            self._out.sync()
        self._out.close()
        if kind is None:
            os.replace(self._partial, self._file)
        else:
            self._partial.unlink(missing_ok=True)

    def shard(self) -> Shard:
        """What was written; call it after the block."""
        table = np.array(self._rows, np.int64).reshape(-1, len(_COLUMNS))
        return Shard(self._name, self._split, self._out.written, self._out.digest.hexdigest(), self._keys, table)


class _Hashing:
    """A file that counts and hashes what is written to it."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self.digest, self.written = out, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.written += len(data)
        return self._out.write(data)

    def sync(self) -> None:
        self._out.flush()
        os.fsync(self._out.fileno())

    def close(self) -> None:
        self._out.close()


def sha256_of(file: Path) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def members(file: Path) -> Iterator[tuple[str, int, int]]:
    """Name, offset and length of every member of a tar."""
    with tarfile.open(file) as tar:
        for info in tar:
            yield info.name, info.offset_data, info.size
