"""The one way in which this program writes files: each appears under its name only once it is complete and on disk."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_NAME_BYTES = 100
"""So much of a file's name stands in that of its temporary file: file systems end at 255 bytes."""


@contextmanager
def atomic_path(target: Path, suffix: str = "") -> Generator[Path]:
    """Yield a temporary path beside `target`, for a file or a folder, and move it to `target` once the block is left.

    Args:
        suffix: of the temporary path, for libraries that choose a format by it.

    Raises:
        OSError: it cannot be written. Whatever is raised, `target` stays as it was and nothing is left beside it.
    """
    name = target.name.encode()[:_NAME_BYTES].decode(errors="ignore")
    partial = target.with_name(f".{name}.{uuid.uuid4().hex[:12]}.partial{suffix}")  # two processes may write one file
    try:
        yield partial
        publish(partial, target)
    finally:
        remove(partial)


@contextmanager
def atomic_output(file: Path) -> Generator[IO[bytes]]:
    """Open a file for writing that appears under its name once the block is left; see `atomic_path`."""
    with atomic_path(file) as partial, partial.open("wb") as out:
        yield out


def publish(partial: Path, target: Path) -> None:
    """Give a complete file or folder its name, after it has reached the disk; replace a file of that name."""
    for path in [p for p in partial.rglob("*") if p.is_file()] if partial.is_dir() else [partial]:
        _sync(path)
    os.replace(partial, target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders, and does not need to
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder with its content, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def output_errors(file: Path) -> Generator[None]:
    """Create the folder of a file that the user named, and turn an OSError of the block into a ValueError about it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ValueError(f"{file}: cannot be written ({error.strerror or error})") from error


def write_json(content: dict[str, Any], file: Path, indent: int | None = None) -> None:
    """Write JSON atomically, on one line unless `indent` is given."""
    write_text(json.dumps(content, indent=indent, separators=(",", ": " if indent else ":")), file)


def write_text(text: str, file: Path) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(text.encode(), file)


def write_bytes(content: bytes, file: Path) -> None:
    """Write bytes atomically."""
    with atomic_output(file) as out:
        out.write(content)


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
