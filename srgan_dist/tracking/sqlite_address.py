"""Addresses of SQLite databases. SQLAlchemy takes the text before the first `?` as the path, and decodes nothing."""

import os
import re
from pathlib import Path

PREFIX = "sqlite:///"
_ADDRESS = re.compile(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", re.DOTALL)


def sqlite_file(uri: str) -> Path | None:
    """Return the absolute path of an address's database; None for a database in memory or another kind of address."""
    found = _ADDRESS.fullmatch(uri)
    if not found or found[1] == ":memory:" or found[1].startswith("file:"):
        return None
    return Path(os.path.abspath(re.sub("^/+", "/", found[1])))


def identity(uri: str) -> tuple[int, int] | None:
    """Return the device and inode of an address's database; None if it is missing or the address is of another kind."""
    file = sqlite_file(uri)
    if file is None or not file.exists():
        return None
    status = file.stat()
    return status.st_dev, status.st_ino


def sqlite_uri(file: Path) -> str:
    """Return the address of a database file; relative to the working directory if only that can be expressed.

    Raises:
        ValueError: the path contains a question mark, which an address of SQLite cannot contain.
    """
    path = str(file) if "?" not in str(file) else os.path.relpath(file)
    if "?" in path:
        raise ValueError(
            f"{file}: the path of an SQLite database cannot contain a question mark; set MLFLOW_TRACKING_URI to another"
        )
    return PREFIX + path
