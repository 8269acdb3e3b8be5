"""JSON lines that are appended while something more important goes on: a full disk never raises here."""

import json
import logging
import threading
from collections import deque
from pathlib import Path
from typing import Any

log = logging.getLogger("srgan_dist")

_KEPT = 10_000
"""Lines that wait in memory for space on the disk."""


class Journal:
    """One file of JSON lines, whole lines only.

    What cannot be written stays in memory, the latest ten thousand lines of it, and is written when there is space.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._waiting: deque[bytes] = deque(maxlen=_KEPT)
        self._lock, self._full = threading.Lock(), False

    def append(self, content: dict[str, Any]) -> None:
        """Writes one line, or keeps it for later."""
        with self._lock:
            self._waiting.append(json.dumps(content).encode() + b"\n")
            try:
                _write(self.file, b"".join(self._waiting))
            except OSError as error:
                if not self._full:
                    reason = error.strerror or error
                    log.warning("%s cannot be written (%s); it is tried again, and work goes on", self.file, reason)
                self._full = True
                return
            if self._full:
                log.info("%s is written again; %d lines had waited", self.file, len(self._waiting))
            self._full = False
            self._waiting.clear()


def _write(file: Path, content: bytes) -> None:
    with file.open("ab", buffering=0) as out:
        end = out.tell()
        written = 0
        try:
            while written < len(content):  # a disk that fills up takes a part
                written += out.write(content[written:])
        except OSError:
            if written:
                out.truncate(end)
            raise
