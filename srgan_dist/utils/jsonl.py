"""Append-only JSON lines whose errors never interrupt the caller, not even on a full disk."""

import json
import logging
import threading
from collections import deque
from pathlib import Path
from typing import Any

log = logging.getLogger("srgan_dist")

_MAX_LINES = 10_000
"""Largest number of lines that are kept in memory until they can be written."""


class Journal:
    """A file of JSON lines, which contains complete lines only. It may be used from several threads.

    Lines that cannot be written are kept in memory, up to the latest 10,000, and are written later.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._waiting: deque[bytes] = deque(maxlen=_MAX_LINES)
        self._lock, self._full = threading.Lock(), False

    def append(self, content: dict[str, Any]) -> None:
        """Write one line, or keep it in memory and log a warning if it cannot be written."""
        with self._lock:
            self._waiting.append(json.dumps(content).encode() + b"\n")
            try:
                _write(self.file, b"".join(self._waiting))
            except OSError as error:
                if not self._full:
                    reason = error.strerror or error
                    log.warning("%s cannot be written (%s); retrying while work continues", self.file, reason)
                self._full = True
                return
            if self._full:
                log.info("%s can be written again; wrote the %d lines kept in memory", self.file, len(self._waiting))
            self._full = False
            self._waiting.clear()


def _write(file: Path, content: bytes) -> None:
    with file.open("ab", buffering=0) as out:
        end = out.tell()
        written = 0
        try:
            while written < len(content):  # a disk that fills up accepts only a part
                written += out.write(content[written:])
        except OSError:
            if written:
                out.truncate(end)
            raise
