"""The one reader of manifests. It checks every value, because manifests are downloaded from other people.

Afterwards a name is a plain file name, a hash is safe as a file name, and every offset lies inside its shard.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.shards.manifest import COLUMNS, FORMAT, HR, LR, MANIFEST, SPLITS, Manifest, Shard, Stored
from srgan_dist.utils.untrusted import choice, integer, is_file_name, items, parse_json, section, sha256, text

MOST_BYTES = 64 << 20
"""Size of the largest manifest that is read, enough for about 700,000 samples."""
_MOST_SHARDS, _LARGEST_SCALE, _LARGEST_SIDE = 100_000, 64, 1 << 20
_STORED: tuple[Stored, ...] = ("raw", "png", "webp", "jpg")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder of shards.

    Raises:
        ValueError: there is none, or it is corrupt or in another format.
    """
    return parse_manifest(manifest_bytes(folder), str(folder / MANIFEST))


def manifest_bytes(folder: Path) -> bytes:
    """Read the bytes of a folder's manifest. Raises as `read_manifest`."""
    file = folder / MANIFEST
    try:
        with file.open("rb") as content:
            return content.read(MOST_BYTES + 1)
    except FileNotFoundError:
        advice = "pack it first: srgan pack SOURCE --scale S --out DIR"
        if any(folder.glob(".packing-*")):
            advice = "packing did not finish: run the same command again to continue"
        elif any(folder.glob("*.tar")):
            advice = f"index it first: srgan shards index {folder}"
        raise ValueError(f"{folder}: no {MANIFEST} here ({advice})") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Parse a manifest; `where` names it in errors. Raises as `read_manifest`."""
    try:
        d = parse_json(content, MOST_BYTES)
    except ValueError as error:
        raise ValueError(f"{where}: corrupt ({error})") from None
    if d.get("format") != FORMAT:
        written_as = d.get("format")
        shown = repr(written_as)[:80] if isinstance(written_as, str) else "missing"
        raise ValueError(f"{where}: format {shown}, but this version reads {FORMAT!r}")
    try:
        return _parse(d)
    except ValueError as error:
        raise ValueError(f"{where}: not valid {FORMAT} ({error})") from None


def _parse(d: dict[str, Any]) -> Manifest:
    encoding, scale = choice(d, "encoding", _STORED), integer(d, "scale", 1, _LARGEST_SCALE)
    listed = items(d, "shards")
    if len(listed) > _MOST_SHARDS:
        raise ValueError(f"{len(listed)} shards, more than {_MOST_SHARDS}")
    shards = [parse_shard(s, scale, encoding) for s in listed]
    if len({s.name for s in shards}) != len(shards):
        raise ValueError("two shards have the same name")
    return Manifest(scale, encoding, text(d, "degradation"), text(d, "source"), text(d, "software"), shards)


def parse_shard(d: Any, scale: int, encoding: Stored) -> Shard:
    """Build a shard from its JSON form in a manifest.

    Args:
        d: the JSON form; `manifest.Shard.to_json` writes it.
        scale: the scale of the manifest.
        encoding: the encoding of the manifest.

    Raises:
        ValueError: a value is missing or wrong, or an image would lie outside of its sample or of the shard.
    """
    if not isinstance(d, dict):
        raise ValueError("a shard is not an object")
    entry: dict[str, Any] = d  # pyright: ignore[reportUnknownVariableType]
    name = text(entry, "name")
    if not is_file_name(name) or not name.endswith(".tar"):
        raise ValueError(f"shard {name[:60]!r}: its name is not a plain file name that ends in .tar")
    try:
        size, digest = integer(entry, "bytes"), sha256(entry)
        keys, table = _samples(section(entry, "samples"))
        shard = Shard(name, choice(entry, "split", SPLITS), size, digest, keys, table)
        _check_positions(shard, scale, encoding)
    except ValueError as error:
        raise ValueError(f"shard {name!r}: {error}") from None
    return shard


def _samples(d: dict[str, Any]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the keys and the table of the samples of a shard."""
    keys, columns = items(d, "key"), [items(d, name) for name in COLUMNS]
    if {len(column) for column in columns} != {len(keys)}:
        raise ValueError("columns of different lengths")
    if not set(map(type, keys)) <= {str} or max(map(len, keys), default=1) > 1000 or not all(keys):
        raise ValueError("a key is not text of 1 to 1000 characters")
    for name, column in zip(COLUMNS, columns, strict=True):
        if not set(map(type, column)) <= {int} or min(column, default=0) < 0 or max(column, default=0) > 1 << 50:
            raise ValueError(f"{name} has a value that is not an integer from 0 to 2**50")
    return keys, np.array(columns, np.int64).T.copy()


def _check_positions(shard: Shard, scale: int, encoding: Stored) -> None:
    """Check that samples lie inside the shard, images inside their samples, and that HR is `scale` times LR."""
    start, length = shard.table[:, 0], shard.table[:, 1]
    _require(shard, start + length <= shard.bytes, "lies outside of the file")
    for part, k in (("hr", HR), ("lr", LR)):
        offset, size, height, width = shard.table[:, k : k + 4].T
        _require(shard, (offset >= start) & (offset + size <= start + length), f"its {part} lies outside of it")
        sides = (np.minimum(height, width) > 0) & (np.maximum(height, width) <= _LARGEST_SIDE)
        _require(shard, sides, f"its {part} has a side that is not from 1 to {_LARGEST_SIDE} pixels")
        if encoding == "raw":
            _require(shard, 3 * height * width < size, f"its {part} has more pixels than bytes")
    hr, lr = shard.table[:, HR + 2 : HR + 4], shard.table[:, LR + 2 : LR + 4]
    _require(shard, (hr == lr * scale).all(1), f"its hr is not {scale} x lr")


def _require(shard: Shard, holds: NDArray[np.bool_], problem: str) -> None:
    """Raise ValueError about the first sample for which a condition does not hold."""
    if not holds.all():
        raise ValueError(f"sample {shard.keys[int(np.argmin(holds))][:60]!r}: {problem}")
