"""The cache folder of this machine: fetched shards, and which files were found whole. Shared by all processes."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from srgan_dist.data.shards.manifest import Shard
from srgan_dist.data.shards.verify import CorruptSample, faults
from srgan_dist.utils.files import write_json


def cache_folder(chosen: Path | None = None) -> Path:
    """`chosen`, else `$SRGAN_CACHE`, else `srgan_dist` in the user's cache folder."""
    if chosen:
        return chosen
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SRGAN_CACHE") or home / "srgan_dist")


def lock(file: Path) -> AbstractContextManager[Any]:
    """Holds off the other processes of this machine that want the same file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file.with_name(f".{file.name}.lock"))


class Checks:
    """Which shard files were read through and found whole (or what is wrong with them): reading them once is enough.

    An answer holds for the file's length and time of change; another file, or a changed one, is read again.
    """

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "checked"

    def faults(self, file: Path, shard: Shard) -> list[CorruptSample]:
        """What is wrong with a shard's file; nothing, for a whole one."""
        return self._known(file, shard, lambda: faults(file, shard))

    def remember(self, file: Path, shard: Shard) -> None:
        """Notes that a file is whole, by whoever has just written it."""
        self._note(file, shard, [])

    def forget(self, file: Path, shard: Shard) -> None:
        """Drops what is known about a file."""
        self._entry(file, shard).unlink(missing_ok=True)

    def _known(self, file: Path, shard: Shard, check: Callable[[], list[CorruptSample]]) -> list[CorruptSample]:
        found = self._look_up(file, shard)
        if found is None:
            with lock(self._entry(file, shard)):
                found = self._look_up(file, shard)
                if found is None:
                    found = check()
                    self._note(file, shard, found)
        return found

    def _look_up(self, file: Path, shard: Shard) -> list[CorruptSample] | None:
        try:
            entry = json.loads(self._entry(file, shard).read_text())
            known = entry["state"] == _state(file)
        except (FileNotFoundError, ValueError, KeyError):
            return None
        return [CorruptSample(*f) for f in entry["faults"]] if known else None

    def _note(self, file: Path, shard: Shard, found: list[CorruptSample]) -> None:
        if file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json({"state": _state(file), "faults": found}, self._entry(file, shard))

    def _entry(self, file: Path, shard: Shard) -> Path:
        name = hashlib.sha256(f"{file.resolve()}\n{shard.sha256}".encode()).hexdigest()
        return self._folder / f"{name[:32]}.json"


def _state(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
