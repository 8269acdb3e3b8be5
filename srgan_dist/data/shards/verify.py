"""Verification of a shard's file against its manifest, sample by sample."""

import io
import mmap
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from srgan_dist.data.shards.manifest import HR, LR, Manifest, Shard, Stored
from srgan_dist.data.shards.npy import read_header
from srgan_dist.data.shards.tars import Member, extension, members
from srgan_dist.imaging.opening import named_errors
from srgan_dist.utils.files import sha256_of

_MISSING = "listed in the manifest, but missing"


class CorruptSample(NamedTuple):
    """One fault of a shard's file."""

    sample: int
    """Number of the sample in the shard, or -1 for the entire shard."""
    what: str
    """The fault, for people."""


def faults(file: Path, shard: Shard) -> list[CorruptSample]:
    """Return the faults of a shard's file, the most informative first; none if it is intact.

    An intact file is read once (SHA-256). Only a corrupt one is searched sample by sample (CRC-32).
    """
    if not file.is_file():
        return [CorruptSample(-1, _MISSING)]
    if file.stat().st_size == shard.bytes and sha256_of(file) == shard.sha256:
        return []
    corrupt = _corrupt_samples(file, shard)
    if corrupt:
        return corrupt
    size = file.stat().st_size
    if size != shard.bytes:
        return [CorruptSample(-1, f"{size} bytes, but the manifest says {shard.bytes}")]
    return [CorruptSample(-1, "corrupt after its last sample: sha256 differs from the manifest")]


def is_missing(corrupt: list[CorruptSample]) -> bool:
    """Return whether these are the faults of a file that does not exist."""
    return bool(corrupt) and corrupt[0] == CorruptSample(-1, _MISSING)


def _corrupt_samples(file: Path, shard: Shard) -> list[CorruptSample]:
    """Return the samples that the file cuts off or whose CRC-32 differs: missing members first, moved samples last."""
    size = file.stat().st_size
    corrupt = [i for i, row in enumerate(shard.table) if row[0] + row[1] > size]
    if size:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            view = memoryview(content)
            rows = enumerate(shard.table[:, :3].tolist())
            corrupt += [i for i, (at, n, crc) in rows if at + n <= size and _crc(view, at, n) != crc]
            view.release()
    if not corrupt:
        return []
    tar = _TarContents(file)
    explained = [CorruptSample(i, tar.reason(shard, i)) for i in sorted(corrupt)]
    return sorted(explained, key=lambda f: ("is missing" not in f.what, "moved" in f.what))


def _crc(content: memoryview, start: int, length: int) -> int:
    with content[start : start + length] as part:
        return zlib.crc32(part)


class _TarContents:
    """The members that can still be read from a corrupt tar."""

    def __init__(self, file: Path) -> None:
        self._size = file.stat().st_size
        with file.open("rb") as content:
            content.seek(max(0, self._size - 1024))
            self._ended = content.read() == bytes(1024)  # a truncated tar does not end in zeros
        self._parts: dict[str, dict[str, Member]] = {}
        for member in members(file):
            self._parts.setdefault(member.key, {})[member.part.split(".")[0]] = member

    def reason(self, shard: Shard, sample: int) -> str:
        """Return why the bytes of a sample differ from the manifest."""
        row, parts = shard.table[sample].tolist(), self._parts.get(shard.keys[sample], {})
        if not self._ended and row[0] + row[1] > self._size:
            return f"truncated, the file ends after {self._size} of {shard.bytes} bytes"
        readable = sample + 1 == len(shard.keys) or shard.keys[sample + 1] in self._parts
        notes = ["json"] if any("json" in of_sample for of_sample in self._parts.values()) else []
        missing = [part for part in ("hr", "lr", *notes) if part not in parts]
        if self._ended and readable and missing:
            return f"its {missing[0]} is missing"
        if not missing and parts["hr"].offset != row[HR]:
            return "moved, it is not at the offset in the manifest"
        return "corrupt, its CRC-32 differs from the manifest"


def layout_faults(file: Path, shard: Shard, scale: int, encoding: Stored) -> list[CorruptSample]:
    """Return where the members and image sizes of an intact file (see `faults`) differ from its manifest.

    Two members of one name, or two samples of one key, are faults, too: WebDataset refuses the tar or mixes them.
    """
    found = list(members(file))
    listed = {(m.offset, m.size): m for m in found}
    mismatches = _duplicates(found, shard)
    with file.open("rb") as content:
        for i, row in enumerate(shard.table.tolist()):
            for part, column in (("hr", HR), ("lr", LR)):
                offset, length, height, width = row[column : column + 4]
                member = listed.get((offset, length))
                if member is None or member.key != shard.keys[i] or not _is_image(member, part, encoding):
                    mismatches.append(CorruptSample(i, f"its {part} is missing at byte {offset}"))
                    continue
                content.seek(offset)
                size = _size(content.read(min(length, 1 << 16)), encoding)
                if size != (height, width):
                    mismatches.append(
                        CorruptSample(i, f"{part} is {size[1]}x{size[0]}, but the manifest says {width}x{height}")
                    )
            if row[HR + 2 : HR + 4] != [row[LR + 2] * scale, row[LR + 3] * scale]:
                mismatches.append(CorruptSample(i, f"hr {row[HR + 3]}x{row[HR + 2]} is not {scale} x lr"))
    return mismatches


def _duplicates(found: list[Member], shard: Shard) -> list[CorruptSample]:
    """Return the samples whose key is that of another sample of the shard, in the manifest or in the tar."""
    names = Counter((m.key, m.part) for m in found)
    keys = Counter(shard.keys)
    repeated = {key for (key, _), count in names.items() if count > 1} | {k for k, count in keys.items() if count > 1}
    first = {key: number for number, key in reversed(list(enumerate(shard.keys)))}
    return [
        CorruptSample(first.get(key, -1), f"several samples have the key {key}; rename them, and index the tar again")
        for key in sorted(repeated)
    ]


def _is_image(member: Member, part: str, encoding: Stored) -> bool:
    """Return whether a member is `hr.*` or `lr.*` of an encoding: `jpeg` is a name of jpg, too."""
    of, last = member.part.partition(".")[0], member.part.rpartition(".")[2]
    return of == part and last in ({"jpg", "jpeg"} if encoding == "jpg" else {extension(encoding)})


def _size(start: bytes, encoding: Stored) -> tuple[int, int]:
    """Return the height and width that the first bytes of a member declare; (0, 0) if they cannot be read."""
    if encoding != "raw":
        try:
            with named_errors(""), Image.open(io.BytesIO(start)) as image:
                return image.height, image.width
        except ValueError:
            return 0, 0
    header = read_header(start)
    return (header.height, header.width) if header else (0, 0)


def one_line(file: str, shard: Shard, corrupt: list[CorruptSample]) -> str:
    """Return one line about the faults of a shard: file, first sample, its fault, and the number of further samples."""
    first = corrupt[0]
    sample = f", sample {shard.keys[first.sample]}" if first.sample >= 0 else ""
    samples = Counter(f.sample for f in corrupt)
    rest = f" (and {len(samples) - 1} more samples of {len(shard.keys)})" if len(samples) > 1 else ""
    return f"{file}{sample}: {first.what}{rest}"


def count_of(manifest: Manifest) -> str:
    """Return a summary for people: `800 train, 100 valid pairs at x4, raw, LR matlab-mirror`."""
    counts = ", ".join(f"{manifest.samples(s)} {s}" for s in ("train", "valid") if manifest.samples(s))
    return f"{counts} pairs at x{manifest.scale}, {manifest.encoding}, LR {manifest.degradation}"
