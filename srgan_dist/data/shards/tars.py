"""Writing and reading of the tars: plain ustar with consecutive samples, as WebDataset expects."""

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
_LARGEST_MEMBER = 1 << 50
_LARGEST_EXTENSION = 1 << 20
"""Largest header with a long name or further attributes, in bytes."""
_EXTENSIONS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


def encode(image: Pixels, encoding: Encoding) -> bytes:
    """Encode (H, W, 3) uint8 RGB as the content of a member: `.npy`, or lossless PNG or WebP."""
    out = io.BytesIO()
    if encoding == "raw":
        np.lib.format.write_array(out, np.ascontiguousarray(image), version=(1, 0))
        return out.getvalue()
    options: dict[str, Any] = {"compress_level": 3} if encoding == "png" else {"lossless": True, "method": 0}
    Image.fromarray(image).save(out, encoding, **options)
    return out.getvalue()


def extension(encoding: Stored) -> str:
    """Return the last extension of the image members, without the dot."""
    return "npy" if encoding == "raw" else encoding


class ShardWriter:
    """Writes one tar whose bytes depend only on the samples added. Use as a context manager.

    The tar gets its name, complete and synced, when the block ends; if the block raises, nothing is left.
    """

    def __init__(self, folder: Path, name: str, split: Split, encoding: Encoding) -> None:
        self._file, self._partial = folder / name, folder / f".{name}.{os.getpid()}.partial"
        self._name: str = name
        self._split: Split = split
        self._encoding: Encoding = encoding
        self._keys: list[str] = []
        self._rows: list[tuple[int, ...]] = []

    def __enter__(self) -> "ShardWriter":
        self._out = _HashingFile(self._partial.open("wb"))
        return self

    def add(self, key: str, hr: Pixels, lr: Pixels, notes: dict[str, Any]) -> None:
        """Append one sample: `<key>.hr.*`, `<key>.lr.*` and `<key>.json`.

        Args:
            key: unique WebDataset key, without a dot.
            hr, lr: (H, W, 3) and (h, w, 3) uint8 RGB.
            notes: content of the JSON member.
        """
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
        """Append a member and return the offset of its content."""
        info = tarfile.TarInfo(name)  # mtime 0, no owner: the same input produces the same bytes
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
        """Return the manifest's entry for the tar; only after the block has ended."""
        table = np.array(self._rows, np.int64).reshape(-1, len(COLUMNS))
        return Shard(self._name, self._split, self._out.written, self._out.digest.hexdigest(), self._keys, table)


class _HashingFile:
    """A file that counts and hashes the bytes written to it."""

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
    """A file inside a tar, in bytes from the start of the tar."""

    name: str
    start: int
    """Offset of its header."""
    offset: int
    """Offset of its content."""
    size: int
    """Length of its content."""

    @property
    def end(self) -> int:
        """Offset of the next header: the end of its content and padding."""
        return self.offset + -(-self.size // _BLOCK) * _BLOCK

    @property
    def key(self) -> str:
        """Its WebDataset key: the path up to the first dot of the file's name."""
        folder, _, name = self.name.rpartition("/")
        return (f"{folder}/" if folder else "") + name.split(".", 1)[0]

    @property
    def part(self) -> str:
        """The name after the first dot, in lower case: `hr.npy`."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()


class CheckedTarInfo(tarfile.TarInfo):
    """Header of a member whose size is checked before anything of that size is read. Pass it as `tarinfo`.

    Without it, a few compressed bytes can declare an extended header of gigabytes, which tarfile reads into memory.
    """

    most_bytes = _LARGEST_MEMBER

    def _proc_member(self, tarfile: tarfile.TarFile) -> Any:
        """Override the method by which tarfile processes each header."""
        limit = _LARGEST_EXTENSION if self.type in _EXTENSIONS else self.most_bytes
        check_size(self, limit)
        return super()._proc_member(tarfile)  # pyright: ignore


def check_size(info: tarfile.TarInfo, most: int) -> None:
    """Raise tarfile.ReadError if a member declares a negative size or more than `most` bytes."""
    if not 0 <= info.size <= most:
        raise tarfile.ReadError(f"member {info.name[:80]!r} declares {info.size} bytes, more than {most} or negative")


def members(file: Path) -> Iterator[Member]:
    """Yield the files of an uncompressed tar up to the first one that cannot be read.

    Links and sparse files are omitted, because their content is not stored in one piece.
    """
    last = -1
    try:
        with tarfile.open(file, "r:", tarinfo=CheckedTarInfo) as tar:
            for info in tar:
                if info.size < 0 or info.offset <= last:  # an extended header can change the size afterwards
                    return
                last = info.offset
                if info.isreg() and not info.issparse():
                    yield Member(info.name, info.offset, info.offset_data, info.size)
    except Exception:  # tarfile raises many types for corrupt headers
        return
