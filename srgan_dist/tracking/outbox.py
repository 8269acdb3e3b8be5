"""What MLflow has not got yet, on disk: it outlives a server that is away, and the process."""

import itertools
import json
import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from srgan_dist.utils.files import write_bytes, write_json

log = logging.getLogger("srgan_dist")


class Item(NamedTuple):
    """One thing to send."""

    number: int
    kind: str
    content: dict[str, Any]
    image: Path
    """Where its image is, if it has one."""


class Outbox:
    """A folder of numbered items, sent in order and removed one by one.

    An item is there only when it is whole. Nothing here raises for a full disk: what cannot be kept is left out, and
    the first time a warning says so.

    Args:
        limit: bytes of images at most; beyond it the oldest go.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._lock, self._warned = threading.Lock(), False
        found = self._numbers()
        self.first_new = max(found, default=0) + 1
        """Items with lower numbers were left by an earlier session."""
        self._next = itertools.count(self.first_new)
        self._pictures = {n: self._image(n).stat().st_size for n in found if self._image(n).exists()}

    def put(self, kind: str, content: dict[str, Any], image: bytes = b"") -> None:
        """Adds an item, with the bytes of an image if it has one."""
        with self._lock:
            number = next(self._next)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                if image:
                    write_bytes(image, self._image(number))
                    self._pictures[number] = len(image)
                    self._make_room()
                write_json({"kind": kind} | content, self._file(number))
            except OSError as error:
                with suppress(OSError):
                    self._image(number).unlink()
                self._pictures.pop(number, None)
                self._warn(f"{self._folder} cannot be written ({error.strerror or error}); MLflow will not get all")

    def items(self) -> list[Item]:
        """What is there, in order."""
        found: list[Item] = []
        for number in self._numbers():
            content: dict[str, Any] = json.loads(self._file(number).read_text())
            found.append(Item(number, content.pop("kind"), content, self._image(number)))
        return found

    def done(self, item: Item) -> None:
        """Removes what was sent."""
        with self._lock:
            self._file(item.number).unlink(missing_ok=True)
            item.image.unlink(missing_ok=True)
            self._pictures.pop(item.number, None)

    def count(self) -> int:
        """How many items wait."""
        return len(self._numbers())

    def _make_room(self) -> None:
        while sum(self._pictures.values()) > self._limit and len(self._pictures) > 1:
            oldest = min(self._pictures)
            self._file(oldest).unlink(missing_ok=True)
            self._image(oldest).unlink(missing_ok=True)
            del self._pictures[oldest]
            self._warn(f"over {self._limit >> 20} MiB of images wait for MLflow; the oldest are left out")

    def _warn(self, message: str) -> None:
        if not self._warned:
            log.warning("%s", message)
        self._warned = True

    def _numbers(self) -> list[int]:
        return sorted(int(f.stem) for f in self._folder.glob("[0-9]*.json"))

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:08d}.json"

    def _image(self, number: int) -> Path:
        return self._folder / f"{number:08d}.png"
