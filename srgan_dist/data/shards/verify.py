"""Whether a shard's file is what its manifest says, and which samples are not."""

import io
import mmap
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from srgan_dist.data.shards.manifest import HR, LR, Manifest, Shard, Stored
from srgan_dist.data.shards.tars import Member, extension, members
from srgan_dist.utils.files import sha256_of


class CorruptSample(NamedTuple):
    """What is wrong with a sample (its number in the shard), or with the whole shard (-1)."""

    sample: int
    what: str


def faults(file: Path, shard: Shard) -> list[CorruptSample]:
    """What is wrong with the file of a shard, the most telling first. One pass over a file that is whole."""
    if not file.is_file():
        return [CorruptSample(-1, "named in the manifest, but not there")]
    if file.stat().st_size == shard.bytes and sha256_of(file) == shard.sha256:
        return []
    found = _corrupt_samples(file, shard)
    if found:
        return found
    size = file.stat().st_size
    if size != shard.bytes:
        return [CorruptSample(-1, f"{size} bytes, the manifest says {shard.bytes}")]
    return [CorruptSample(-1, "corrupt behind its last sample: sha256 differs from the manifest")]


def _corrupt_samples(file: Path, shard: Shard) -> list[CorruptSample]:
    size = file.stat().st_size
    found = [CorruptSample(i, "") for i, row in enumerate(shard.table) if row[0] + row[1] > size]
    if size:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            view = memoryview(content)
            whole = shard.table[: len(shard.keys) - len(found)]
            found += [
                CorruptSample(i, "") for i, (at, n, crc) in enumerate(whole[:, :3].tolist()) if _crc(view, at, n) != crc
            ]
            view.release()
    if not found:
        return []
    walk = _Walk(file)
    named = [CorruptSample(f.sample, walk.reason(shard, f.sample)) for f in sorted(found)]
    return sorted(named, key=lambda f: ("is missing" not in f.what, "moved" in f.what))


def _crc(content: memoryview, start: int, length: int) -> int:
    with content[start : start + length] as part:
        return zlib.crc32(part)


class _Walk:
    """What a corrupt tar still shows of itself."""

    def __init__(self, file: Path) -> None:
        self._size = file.stat().st_size
        with file.open("rb") as content:
            content.seek(max(0, self._size - 1024))
            self._ended = content.read() == bytes(1024)  # a tar that was cut does not end in zeros
        self._parts: dict[str, dict[str, Member]] = {}
        for member in members(file):
            self._parts.setdefault(member.key, {})[member.part.split(".")[0]] = member

    def reason(self, shard: Shard, sample: int) -> str:
        """Why the bytes of a sample are not those of the manifest."""
        row, here = shard.table[sample].tolist(), self._parts.get(shard.keys[sample], {})
        if not self._ended and row[0] + row[1] > self._size:
            return f"cut off, the file ends after {self._size} of {shard.bytes} bytes"
        readable = sample + 1 == len(shard.keys) or shard.keys[sample + 1] in self._parts
        notes = ["json"] if any("json" in parts for parts in self._parts.values()) else []
        missing = [part for part in ("hr", "lr", *notes) if part not in here]
        if self._ended and readable and missing:
            return f"its {missing[0]} is missing"
        if not missing and here["hr"].offset != row[HR]:
            return "moved, it is not where the manifest says"
        return "corrupt, its bytes are not those of the manifest (CRC-32 differs)"


def layout_faults(file: Path, shard: Shard, scale: int, encoding: Stored) -> list[CorruptSample]:
    """Whether members and images of a file with the right bytes are as its manifest lists them."""
    there = {(m.offset, m.size): m for m in members(file)}
    with file.open("rb") as content:
        found: list[CorruptSample] = []
        for i, row in enumerate(shard.table.tolist()):
            for part, column in (("hr", HR), ("lr", LR)):
                offset, length, height, width = row[column : column + 4]
                member = there.get((offset, length))
                if member is None or (member.key, member.part) != (shard.keys[i], f"{part}.{extension(encoding)}"):
                    found.append(CorruptSample(i, f"its {part} is missing at byte {offset}"))
                    continue
                content.seek(offset)
                size = _size(content.read(min(length, 1 << 16)), encoding)
                if size != (height, width):
                    found.append(CorruptSample(i, f"{part} is {size[1]}x{size[0]}, the manifest says {width}x{height}"))
            if row[HR + 2 : HR + 4] != [row[LR + 2] * scale, row[LR + 3] * scale]:
                found.append(CorruptSample(i, f"hr {row[HR + 3]}x{row[HR + 2]} is not {scale} x lr"))
    return found


def _size(start: bytes, encoding: Stored) -> tuple[int, int]:
    """Height and width that a member's first bytes declare."""
    if encoding != "raw":
        try:
            with Image.open(io.BytesIO(start)) as image:
                return image.height, image.width
        except (OSError, SyntaxError, ValueError):
            return 0, 0
    shape = npy_shape(start)
    return (shape[0], shape[1]) if shape else (0, 0)


def npy_shape(start: bytes) -> tuple[int, int, int] | None:
    """The shape of a `.npy` of uint8 (H, W, 3) in C order from its first bytes; nothing for any other array."""
    content = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(content)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(content)
    except ValueError:
        return None
    return shape if dtype == np.uint8 and not fortran and len(shape) == 3 and shape[2] == 3 else None


def one_line(file: str, shard: Shard, found: list[CorruptSample]) -> str:
    """The faults of one shard for a person: shard, first sample, and how many more."""
    first = found[0]
    sample = f", sample {shard.keys[first.sample]}" if first.sample >= 0 else ""
    more = Counter(f.sample for f in found)
    rest = f" (and {len(more) - 1} more samples of {len(shard.keys)})" if len(more) > 1 else ""
    return f"{file}{sample}: {first.what}{rest}"


def count_of(manifest: Manifest) -> str:
    """`800 train, 100 valid pairs at x4, raw, LR matlab-mirror`, for a person."""
    counts = ", ".join(f"{manifest.samples(s)} {s}" for s in ("train", "valid") if manifest.samples(s))
    return f"{counts} pairs at x{manifest.scale}, {manifest.encoding}, LR {manifest.degradation}"
