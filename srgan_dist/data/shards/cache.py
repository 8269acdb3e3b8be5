"""The cache folder of this machine: downloaded shards, and verification results. Shared by all processes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from srgan_dist.data.shards.manifest import Shard
from srgan_dist.data.shards.verify import CorruptSample, faults
from srgan_dist.utils.file_lock import lock
from srgan_dist.utils.files import write_json


class Checks:
    """Recorded results of `verify.faults`, so that other processes and later runs need not read the files again.

    A result is valid for one size, modification time and inode of a file; a changed file is read again.
    """

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "checked"

    def faults(self, file: Path, shard: Shard) -> list[CorruptSample]:
        """Return the faults of a shard's file, none if it is intact; reads the file unless the result is recorded."""
        return self._check_once(file, shard, lambda: faults(file, shard))

    def faults_now(self, file: Path, shard: Shard) -> list[CorruptSample]:
        """Read a shard's file whatever is recorded, record the result, and return its faults."""
        with lock(self._entry(file, shard)):
            result = faults(file, shard)
            self._record(file, shard, result)
        return result

    def remember(self, file: Path, shard: Shard) -> None:
        """Record that a file, which the caller has just written, is intact."""
        self._record(file, shard, [])

    def forget(self, file: Path, shard: Shard) -> None:
        """Remove the result for a file."""
        self._entry(file, shard).unlink(missing_ok=True)

    def _check_once(self, file: Path, shard: Shard, check: Callable[[], list[CorruptSample]]) -> list[CorruptSample]:
        result = self._read(file, shard)
        if result is None:
            with lock(self._entry(file, shard)):
                result = self._read(file, shard)  # another process may have checked it meanwhile
                if result is None:
                    result = check()
                    self._record(file, shard, result)
        return result

    def _read(self, file: Path, shard: Shard) -> list[CorruptSample] | None:
        """Return the recorded result, or None if there is none for the present state of the file."""
        try:
            entry = json.loads(self._entry(file, shard).read_text())
            known = entry["state"] == _state(file)
            found = [CorruptSample(*f) for f in entry["faults"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        # The manifest may have changed since: it may say another size, or list fewer samples.
        applies = all(f.sample < len(shard.keys) for f in found) and (found or file.stat().st_size == shard.bytes)
        return found if known and applies else None

    def _record(self, file: Path, shard: Shard, result: list[CorruptSample]) -> None:
        if file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json({"state": _state(file), "faults": result}, self._entry(file, shard))

    def _entry(self, file: Path, shard: Shard) -> Path:
        """Return the file that records the result for this file and the shard's expected hash."""
        name = hashlib.sha256(f"{file.resolve()}\n{shard.sha256}".encode()).hexdigest()
        return self._folder / f"{name[:32]}.json"


def _state(file: Path) -> list[int]:
    """Return size, modification time in nanoseconds, and inode of a file."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
