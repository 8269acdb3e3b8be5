"""What the first download from an origin was. Later ones are compared with it, where the origin itself says nothing."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from srgan_dist.utils.cache_folder import cache_folder
from srgan_dist.utils.files import sha256_of, write_json

log = logging.getLogger("srgan_dist")


def compare_with_first(origin: str, file: Path, prefix: str = "") -> None:
    """Compare a downloaded file with the first one from the same origin, whose SHA-256 is kept in the cache folder.

    Args:
        origin: URL of the file, without secrets.
        file: The downloaded file.
        prefix: First digits of the SHA-256, if the origin publishes them.

    Raises:
        ValueError: If the content differs.
    """
    stat = file.stat()
    state = [stat.st_size, stat.st_mtime_ns]
    known = _read(origin)
    if known.get("state") == state and str(known.get("value", "")).startswith(prefix):  # unchanged since the last time
        return
    digest = sha256_of(file)
    if not digest.startswith(prefix):
        raise ValueError(f"{file}: its sha256 {digest[:12]}... does not begin with {prefix}; delete it and try again")
    remember_first(origin, digest, state)


def remember_first(origin: str, value: str, state: list[int] | None = None) -> None:
    """Record a hash or revision as the first one of an origin, or compare it with that one.

    Raises:
        ValueError: If they differ.
    """
    known = _read(origin).get("value", value)
    if known != value:
        raise ValueError(
            f"{origin}: its content has changed since the first download ({str(known)[:12]}... then, {value[:12]}... "
            f"now). If that is expected, delete {_entry(origin)}"
        )
    try:
        _entry(origin).parent.mkdir(parents=True, exist_ok=True)
        write_json({"origin": origin, "value": value, "state": state}, _entry(origin))
    except OSError as error:
        log.warning("%s: the hash of the first download cannot be kept (%s)", origin, error.strerror or error)


def first_of(origin: str) -> str | None:
    """Return the hash or revision of the first download from an origin; None if there was none."""
    value = _read(origin).get("value")
    return value if isinstance(value, str) else None


def _read(origin: str) -> dict[str, Any]:
    try:
        entry: Any = json.loads(_entry(origin).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _entry(origin: str) -> Path:
    return cache_folder() / "origins" / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.json"
