"""Files that are there under their name only once they are complete, and their hashes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def write_json(content: dict[str, Any], file: Path, indent: int | None = None) -> None:
    """Writes under a temporary name, syncs, renames: the file is whole or not there."""
    write_text(json.dumps(content, indent=indent, separators=(",", ": " if indent else ":")), file)


def write_text(text: str, file: Path) -> None:
    """Writes UTF-8 under a temporary name, syncs, renames: the file is whole or not there."""
    write_bytes(text.encode(), file)


def write_bytes(content: bytes, file: Path) -> None:
    """Writes under a temporary name, syncs, renames: the file is whole or not there."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")  # two processes may write the same file
    with partial.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(partial, file)


def sha256_of(file: Path) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
