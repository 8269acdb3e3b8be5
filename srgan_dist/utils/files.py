"""Atomic file output: a file appears under its final name only once it is complete and on disk."""

import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Codes of an OSError that say that a disk, a quota or the largest file size is exhausted."""
_IN_USE = (5, 32)
"""Codes of Windows for a file that another program has open."""
_ATTEMPTS, _PAUSE = 40, 0.05
"""How often, and after how many seconds, renaming such a file is tried again: for two seconds."""
_NAME_BYTES = 100
"""Largest part of a file's name that its temporary file's name contains: file systems limit names to 255 bytes."""

_LONGEST_NAME = 255
"""Longest file name that common file systems accept, in bytes."""


@contextmanager
def atomic_path(target: Path, suffix: str = "") -> Generator[Path]:
    """Yield a temporary path beside `target`, for a file or a folder, and rename it to `target` after the block.

    If the block raises, `target` is unchanged and nothing is left beside it.

    Args:
        target: The final path. An existing file is replaced.
        suffix: Suffix of the temporary path, for libraries that choose a format by it.

    Raises:
        OSError: If the file or folder cannot be written.
    """
    name = os.fsencode(target.name)[:_NAME_BYTES].decode(errors="ignore")  # a name may be no valid UTF-8
    # Unique, because two processes may write the same file.
    partial = target.with_name(f".{name}.{uuid.uuid4().hex[:12]}.partial{suffix}")
    try:
        with disk_errors(target):
            yield partial
            publish(partial, target)
    finally:
        remove(partial)


@contextmanager
def disk_errors(target: Path) -> Generator[None]:
    """Name the file in errors of a full disk that are raised in the block.

    Raises:
        OSError: the disk is full; its `filename` is `target`.
    """
    try:
        yield
    except Exception as error:
        if cause := _disk_error(error, target):
            raise cause from error
        raise


def _disk_error(error: Exception, target: Path) -> OSError | None:
    """Return an error that names the file if the disk failed: some libraries name no file, others no cause."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return OSError(error.errno, os.strerror(error.errno), str(target))
    if isinstance(error, (OSError, ValueError)):
        return None
    codes = [code for code in FULL_DISK if f"os error {code})" in str(error) or os.strerror(code) in str(error)]
    full = "PytorchStreamWriter failed" in str(error) or "unexpected pos" in str(error)
    code = codes[0] if codes else errno.ENOSPC if full else 0
    return OSError(code, os.strerror(code), str(target)) if code else None


@contextmanager
def atomic_output(file: Path) -> Generator[IO[bytes]]:
    """Open a binary file for writing, which appears under its name after the block; see `atomic_path`."""
    with atomic_path(file) as partial, partial.open("wb") as out:
        yield out


def publish(partial: Path, target: Path) -> None:
    """Flush a complete file or folder to disk, then rename it to `target`. An existing file is replaced."""
    for path in [p for p in partial.rglob("*") if p.is_file()] if partial.is_dir() else [partial]:
        _sync(path)
    _replace(partial, target)
    _sync(target.parent)


def publish_new(partial: Path, target: Path) -> None:
    """Flush a complete file to disk and give it the name `target`, unless another process has created that meanwhile.

    `partial` may still exist afterwards.
    """
    _sync(partial)
    try:
        os.link(partial, target)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not target.exists():
            _replace(partial, target)
    _sync(target.parent)


def _replace(partial: Path, target: Path) -> None:
    """Rename a file or folder; on Windows wait for programs that have one of the two open, such as a virus scanner."""
    for _ in range(_ATTEMPTS):
        try:
            return os.replace(partial, target)
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _IN_USE:
                raise
            time.sleep(_PAUSE)
    return os.replace(partial, target)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows can neither open folders nor needs them flushed
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def output_errors(file: Path) -> Generator[None]:
    """Create the folder of a file that the user named, and convert an OSError in the block into a ValueError.

    Raises:
        ValueError: If the folder or the file cannot be written; the message names the file.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ValueError(f"{file}: cannot be written ({error.strerror or error})") from error


def write_json(content: dict[str, Any], file: Path, indent: int | None = None) -> None:
    """Write JSON atomically, on one line unless `indent` is given."""
    write_text(json.dumps(content, indent=indent, separators=(",", ": " if indent else ":")), file)


def write_text(text: str, file: Path) -> None:
    """Write UTF-8 text atomically; bytes of file names that are not UTF-8 are written as escapes."""
    write_bytes(text.encode(errors="backslashreplace"), file)


def write_bytes(content: bytes, file: Path) -> None:
    """Write bytes atomically."""
    with atomic_output(file) as out:
        out.write(content)


def append_line(line: str, file: Path) -> None:
    """Append a line of text to a file and flush it to disk. A line that a crash has cut off is ended first.

    Raises:
        OSError: If the file cannot be written.
    """
    created = not file.exists()
    with file.open("ab+", buffering=0) as out:
        length = out.seek(0, os.SEEK_END)
        out.seek(max(0, length - 1))
        is_cut_off = out.read(1) not in (b"", b"\n")
        out.write((b"\n" if is_cut_off else b"") + line.encode() + b"\n")  # at once, as other processes append, too
        os.fsync(out.fileno())
    if created:
        _sync(file.parent)


def fitting_name(stem: str, suffix: str) -> str:
    """Return a file name that file systems accept: a stem that is too long ends in part of its SHA-256 instead."""
    name = os.fsencode(stem)
    if len(name) + len(os.fsencode(suffix)) <= _LONGEST_NAME:
        return stem + suffix
    ending = f"-{hashlib.sha256(name).hexdigest()[:8]}{suffix}"
    return name[: _LONGEST_NAME - len(os.fsencode(ending))].decode(errors="ignore") + ending


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
