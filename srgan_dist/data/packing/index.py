"""A manifest for WebDataset tars that another program made."""

import mmap
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from srgan_dist.data.shards.manifest import COLUMNS, HR, LR, MANIFEST, Manifest, Shard, Split, Stored
from srgan_dist.data.shards.tars import Member, members
from srgan_dist.data.shards.verify import npy_shape
from srgan_dist.imaging import images
from srgan_dist.utils.files import sha256_of, write_json

_STORED: dict[str, Stored] = {"npy": "raw", "png": "png", "webp": "webp", "jpg": "jpg", "jpeg": "jpg"}


def index(folder: Path, scale: int | None, source: str) -> Manifest:
    """Reads and decodes every sample of the tars in `folder` and writes their manifest.

    Raises:
        ValueError: no tars, or a sample without its pair, undecodable, or of another scale or encoding.
    """
    files = sorted(folder.glob("*.tar"))
    if not files:
        raise ValueError(f"{folder}: no .tar here")
    kinds: set[Stored] = set()
    scales: set[int] = {scale} if scale else set()
    shards = [_shard(file, kinds, scales) for file in files]
    manifest = Manifest(scales.pop(), kinds.pop(), "given", source, "srgan shards index", shards)
    write_json(manifest.to_json(), folder / MANIFEST)
    return manifest


def _shard(file: Path, kinds: set[Stored], scales: set[int]) -> Shard:
    samples: dict[str, list[Member]] = {}
    for member in members(file):
        samples.setdefault(member.key, []).append(member)
    if not samples:
        raise ValueError(f"{file}: no samples, not a tar, or corrupt at its start")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)
        try:
            rows = [_row(view, found, f"{file}, sample {key}", kinds, scales) for key, found in samples.items()]
        finally:
            view.release()
    split: Split = "valid" if file.name.startswith("val") else "train"
    table = np.array(rows, np.int64).reshape(-1, len(COLUMNS))
    return Shard(file.name, split, file.stat().st_size, sha256_of(file), list(samples), table)


def _row(content: memoryview, found: list[Member], where: str, kinds: set[Stored], scales: set[int]) -> list[int]:
    parts = {m.part.partition(".")[0]: m for m in found}
    start, end = min(m.start for m in found), max(m.end for m in found)
    if end > len(content):
        raise ValueError(f"{where}: cut off, the file ends after {len(content)} bytes")
    row = [start, end - start, zlib.crc32(content[start:end])]
    for part in ("hr", "lr"):
        if part not in parts:
            raise ValueError(f"{where}: no {part}.*; pack the images, or train on the tars with --data.stream")
        row += _image(content, parts[part], f"{where}, {part}", kinds)
    height, width, h, w = row[HR + 2], row[HR + 3], row[LR + 2], row[LR + 3]
    scales.add(height // h)
    if len(scales) > 1 or (height, width) != (h * height // h, w * (height // h)):
        raise ValueError(f"{where}: hr {width}x{height} to lr {w}x{h} is not the one scale of {sorted(scales)[0]}")
    return row


def _image(content: memoryview, member: Member, where: str, kinds: set[Stored]) -> list[int]:
    """Offset, length, height and width, once it was decoded."""
    kind = _STORED.get(member.part.rpartition(".")[2])
    if kind is None:
        raise ValueError(f"{where}: {member.name} is none of {', '.join(_STORED)}")
    kinds.add(kind)
    if len(kinds) > 1:
        raise ValueError(f"{where}: the tars mix encodings ({', '.join(sorted(kinds))})")
    inside: Any = content[member.offset : member.offset + member.size]
    shape = npy_shape(bytes(inside[:512])) if kind == "raw" else images.decode(inside, where).shape
    if shape is None or (kind == "raw" and member.size < shape[0] * shape[1] * 3):
        raise ValueError(f"{where}: not a .npy of uint8 (H, W, 3) in C order")
    return [member.offset, member.size, shape[0], shape[1]]
