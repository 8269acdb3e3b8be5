"""A lock on a file against the other processes of this machine."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock


def lock(file: Path) -> AbstractContextManager[Any]:
    """Return a lock on a file against the other processes of this machine; creates the file's folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file.with_name(f".{file.name}.lock"))
