"""Manifests for WebDataset tars of other programs."""

import json
import mmap
import zlib
from pathlib import Path

import numpy as np

from srgan_dist.data.shards.manifest import COLUMNS, HR, LR, MANIFEST, Manifest, Shard, Split, Stored
from srgan_dist.data.shards.manifest_parser import parse_manifest
from srgan_dist.data.shards.npy import decode_npy
from srgan_dist.data.shards.tars import Member, members
from srgan_dist.imaging import images
from srgan_dist.utils.files import sha256_of, write_json

_STORED: dict[str, Stored] = {"npy": "raw", "png": "png", "webp": "webp", "jpg": "jpg", "jpeg": "jpg"}


def index(folder: Path, scale: int | None, source: str) -> Manifest:
    """Read and decode every sample of the tars in `folder`, and write their manifest.

    Tars whose name begins with `val` become the `valid` split.

    Args:
        scale: scale of all samples; that of the first sample if None.
        source: label of the images in the manifest.

    Raises:
        ValueError: there are no tars; or a sample lacks HR or LR, cannot be decoded, or has another scale or encoding.
    """
    files = sorted(folder.glob("*.tar"))
    if not files:
        raise ValueError(f"{folder}: no .tar files here")
    encodings: set[Stored] = set()
    scales: set[int] = {scale} if scale else set()
    shards = [_shard(file, encodings, scales) for file in files]
    manifest = Manifest(scales.pop(), encodings.pop(), "given", source, "srgan shards index", shards)
    content = manifest.to_json()
    parse_manifest(json.dumps(content).encode(), str(folder / MANIFEST))  # do not write what cannot be read
    write_json(content, folder / MANIFEST)
    return manifest


def _shard(file: Path, encodings: set[Stored], scales: set[int]) -> Shard:
    """Index one tar. Adds to `encodings` and `scales`, which must not grow beyond one element over all tars."""
    samples: dict[str, list[Member]] = {}
    for member in members(file):
        samples.setdefault(member.key, []).append(member)
    if not samples:
        raise ValueError(f"{file}: no samples; it is empty, not a tar, or corrupt at its start")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        rows = [_row(content, parts, f"{file}, sample {key}", encodings, scales) for key, parts in samples.items()]
    split: Split = "valid" if file.name.startswith("val") else "train"
    table = np.array(rows, np.int64).reshape(-1, len(COLUMNS))
    return Shard(file.name, split, file.stat().st_size, sha256_of(file), list(samples), table)


def _row(content: mmap.mmap, sample: list[Member], where: str, encodings: set[Stored], scales: set[int]) -> list[int]:
    """Return the row of a sample in `Shard.table`; `where` names the sample in errors."""
    parts = {m.part.partition(".")[0]: m for m in sample}
    if len({m.part for m in sample}) < len(sample):
        raise ValueError(f"{where}: several samples have this key, of which WebDataset would take one; rename them")
    start, end = min(m.start for m in sample), max(m.end for m in sample)
    if end > len(content):
        raise ValueError(f"{where}: truncated, the file ends after {len(content)} bytes")
    with memoryview(content) as view, view[start:end] as part:  # an open view would prevent closing the file
        row = [start, end - start, zlib.crc32(part)]
    for part in ("hr", "lr"):
        if part not in parts:
            raise ValueError(f"{where}: no {part}.*; pack the images instead, or train on the tars with --data.stream")
        row += _image(content, parts[part], f"{where}, {part}", encodings)
    height, width, h, w = row[HR + 2], row[HR + 3], row[LR + 2], row[LR + 3]
    factor = height // h
    scales.add(factor)
    if len(scales) > 1 or (height, width) != (h * factor, w * factor):
        seen = ", ".join(f"x{s}" for s in sorted(scales))
        raise ValueError(f"{where}: hr {width}x{height} to lr {w}x{h} is not the one scale of all samples ({seen})")
    return row


def _image(content: mmap.mmap, member: Member, where: str, encodings: set[Stored]) -> list[int]:
    """Decode an image and return its offset, length, height and width."""
    encoding = _STORED.get(member.part.rpartition(".")[2])
    if encoding is None:
        raise ValueError(f"{where}: {member.name} is none of {', '.join(_STORED)}")
    encodings.add(encoding)
    if len(encodings) > 1:
        raise ValueError(f"{where}: the tars mix encodings ({', '.join(sorted(encodings))})")
    data = content[member.offset : member.offset + member.size]
    pixels = decode_npy(data, where) if encoding == "raw" else images.decode(data, where)
    return [member.offset, member.size, *pixels.shape[:2]]
