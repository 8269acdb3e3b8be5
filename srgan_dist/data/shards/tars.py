"""Writing and walking the tars themselves: plain ustar, samples one behind the other, as WebDataset has them."""

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from srgan_dist.data.shards.manifest import COLUMNS, Encoding, Shard, Split, Stored
from srgan_dist.imaging.images import Pixels
from srgan_dist.utils.files import publish

_BLOCK = tarfile.BLOCKSIZE


def encode(image: Pixels, encoding: Encoding) -> bytes:
    """A member's content: `.npy` of uint8 (H, W, 3), or a lossless PNG or WebP."""
    out = io.BytesIO()
    if encoding == "raw":
        np.lib.format.write_array(out, np.ascontiguousarray(image), version=(1, 0))
        return out.getvalue()
    options: dict[str, Any] = {"compress_level": 3} if encoding == "png" else {"lossless": True, "method": 0}
    Image.fromarray(image).save(out, encoding, **options)
    return out.getvalue()


def extension(encoding: Stored) -> str:
    """The members' last extension."""
    return "npy" if encoding == "raw" else encoding


class ShardWriter:
    """Writes one tar, byte for byte determined by what is added. Use as a context manager.

    The tar lands under its name, synced, when the block ends well; otherwise nothing is left.
    """

    def __init__(self, folder: Path, name: str, split: Split, encoding: Encoding) -> None:
        self._file, self._partial = folder / name, folder / f".{name}.{os.getpid()}.partial"
        self._name: str = name
        self._split: Split = split
        self._encoding: Encoding = encoding
        self._keys: list[str] = []
        self._rows: list[tuple[int, ...]] = []

    def __enter__(self) -> "ShardWriter":
        self._out = _Hashing(self._partial.open("wb"))
        return self

    def add(self, key: str, hr: Pixels, lr: Pixels, notes: dict[str, Any]) -> None:
        """Appends one sample: `<key>.hr.*`, `<key>.lr.*` and `<key>.json`."""
        start, self._out.crc32 = self._out.written, 0
        row: list[int] = []
        for part, image in (("hr", hr), ("lr", lr)):
            content = encode(image, self._encoding)
            offset = self._member(f"{key}.{part}.{extension(self._encoding)}", content)
            row += [offset, len(content), *image.shape[:2]]
        self._member(f"{key}.json", json.dumps(notes, sort_keys=True).encode())
        self._keys.append(key)
        self._rows.append((start, self._out.written - start, self._out.crc32, *row))

    def _member(self, name: str, content: bytes) -> int:
        info = tarfile.TarInfo(name)  # mtime 0, no owner: the same input gives the same bytes
        info.size = len(content)
        self._out.write(info.tobuf(tarfile.USTAR_FORMAT))
        start = self._out.written
        self._out.write(content)
        self._out.write(bytes(-len(content) % _BLOCK))
        return start

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._out.write(bytes(2 * _BLOCK))  # the end of an archive
            self._out.write(bytes(-self._out.written % tarfile.RECORDSIZE))
        self._out.close()
        if kind is None:
            publish(self._partial, self._file)
        else:
            self._partial.unlink(missing_ok=True)

    def shard(self) -> Shard:
        """What was written; call it after the block."""
        table = np.array(self._rows, np.int64).reshape(-1, len(COLUMNS))
        return Shard(self._name, self._split, self._out.written, self._out.digest.hexdigest(), self._keys, table)


class _Hashing:
    """A file that counts and hashes what is written to it."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self.digest, self.written, self.crc32 = out, hashlib.sha256(), 0, 0

    def write(self, data: bytes) -> None:
        self.digest.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.written += len(data)
        self._out.write(data)

    def close(self) -> None:
        self._out.close()


class Member(NamedTuple):
    """A file inside a tar. `start` is where its header begins, `end` where the next one does."""

    name: str
    start: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind its content and padding."""
        return self.offset + -(-self.size // _BLOCK) * _BLOCK

    @property
    def key(self) -> str:
        """WebDataset's key: the path up to the first dot of the file's name."""
        folder, _, name = self.name.rpartition("/")
        return (f"{folder}/" if folder else "") + name.split(".", 1)[0]

    @property
    def part(self) -> str:
        """What is behind the first dot, in lower case: `hr.npy`."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()


def members(file: Path) -> Iterator[Member]:
    """The files of a tar, as far as it can be read."""
    try:
        with tarfile.open(file) as tar:
            for info in tar:
                if info.isfile():
                    yield Member(info.name, info.offset, info.offset_data, info.size)
    except (tarfile.TarError, OSError, EOFError):
        return
