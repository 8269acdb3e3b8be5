"""The queue on disk of items that MLflow has not received yet; it outlives server outages and the process."""

import itertools
import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from srgan_dist.utils.files import write_bytes, write_json
from srgan_dist.utils.untrusted import parse_json, path_below, text

log = logging.getLogger("srgan_dist")

_LONGEST_ITEM = 64 << 20


class Item(NamedTuple):
    """One item to send."""

    number: int
    """Position in the queue."""
    kind: str
    """What to log; one of the kinds that `delivery.Delivery` handles."""
    content: dict[str, Any]
    """Plain JSON values."""
    image: Path
    """PNG file of the item; does not exist if it has no image."""


class Outbox:
    """A folder of numbered items, which are sent in order and removed one by one.

    Each item is written atomically, its image first. A full disk never raises here: items that cannot be written are
    dropped, and the first time a warning is logged.

    Args:
        limit: maximum size of all images, in bytes; beyond that, the oldest are dropped.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._lock, self._warned = threading.Lock(), False  # training puts items while the sender's thread removes them
        found = self._numbers()
        self.first_new = max(found, default=0) + 1
        """Items with lower numbers are left over from an earlier session."""
        self._next = itertools.count(self.first_new)
        self._image_sizes = {n: self._image(n).stat().st_size for n in found if self._image(n).exists()}

    def put(self, kind: str, content: dict[str, Any], image: bytes = b"") -> None:
        """Append an item, optionally with the bytes of a PNG image."""
        with self._lock:
            number = next(self._next)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                if image:
                    write_bytes(image, self._image(number))
                    self._image_sizes[number] = len(image)
                    self._drop_oldest_images()
                write_json({"kind": kind} | content, self._file(number))
            except OSError as error:
                with suppress(OSError):
                    self._image(number).unlink()
                self._image_sizes.pop(number, None)
                self._warn(
                    f"{self._folder} is not writable ({error.strerror or error}); MLflow will not receive everything"
                )

    def items(self) -> list[Item]:
        """Return all items in order. An item that cannot be read is dropped with a warning."""
        found: list[Item] = []
        for number in self._numbers():
            try:
                content = parse_json(path_below(self._folder, self._file(number).name).read_bytes(), _LONGEST_ITEM)
                image = path_below(self._folder, self._image(number).name)
                kind = text(content, "kind")
                del content["kind"]
                found.append(Item(number, kind, content, image))
            except ValueError as error:
                log.warning("%s: not an item for MLflow (%s); dropping it", self._file(number), error)
                self._file(number).unlink(missing_ok=True)
        return found

    def done(self, item: Item) -> None:
        """Remove an item that was sent or rejected."""
        with self._lock:
            self._file(item.number).unlink(missing_ok=True)
            item.image.unlink(missing_ok=True)
            self._image_sizes.pop(item.number, None)

    def count(self) -> int:
        """Return the number of items."""
        return len(self._numbers())

    def _drop_oldest_images(self) -> None:
        while sum(self._image_sizes.values()) > self._limit and len(self._image_sizes) > 1:
            oldest = min(self._image_sizes)
            self._file(oldest).unlink(missing_ok=True)
            self._image(oldest).unlink(missing_ok=True)
            del self._image_sizes[oldest]
            self._warn(f"more than {self._limit >> 20} MiB of images are waiting for MLflow; dropping the oldest")

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
