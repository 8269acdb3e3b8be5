"""Reading of `.npy` images: uint8 of shape (H, W, 3) in C order, and nothing else."""

import re
from typing import NamedTuple

import numpy as np

from srgan_dist.imaging.images import Pixels

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 4096
_LARGEST_SIDE = 1 << 20
_FIELDS = {
    "descr": re.compile(rb"""['"]descr['"]\s*:\s*['"][|<>=]?u1['"]"""),
    "fortran_order": re.compile(rb"""['"]fortran_order['"]\s*:\s*False"""),
    "shape": re.compile(rb"""['"]shape['"]\s*:\s*\(\s*(\d{1,7})\s*,\s*(\d{1,7})\s*,\s*3\s*,?\s*\)"""),
}
HEADER_BYTES = _LONGEST_HEADER + 12
"""Number of bytes at the start of a file that `read_header` needs."""


class NpyHeader(NamedTuple):
    """The header of a `.npy` image."""

    height: int
    width: int
    length: int
    """Length of the header in bytes: the offset of the pixels."""

    @property
    def total(self) -> int:
        """Length of the entire file in bytes."""
        return self.length + 3 * self.height * self.width


def read_header(start: bytes) -> NpyHeader | None:
    """Return the header from the first bytes of a `.npy` file, or None if it is not uint8 (H, W, 3) in C order.

    Numpy's own reader evaluates the header as a Python literal, which fails in many ways for a corrupt one.
    """
    if start[:6] != _MAGIC or start[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        return None
    first = 10 if start[6] == 1 else 12
    length = first + int.from_bytes(start[8:first], "little")
    if length > min(len(start), HEADER_BYTES):
        return None
    found = {name: pattern.search(start[first:length]) for name, pattern in _FIELDS.items()}
    shape = found["shape"]
    if not all(found.values()) or not shape:
        return None
    height, width = int(shape[1]), int(shape[2])
    return NpyHeader(height, width, length) if min(height, width) > 0 and max(height, width) <= _LARGEST_SIDE else None


def decode_npy(content: bytes, where: str) -> Pixels:
    """Return the pixels of a `.npy` file, (H, W, 3) uint8 RGB, read-only, without a copy.

    Raises:
        ValueError: The file is another kind of array, or is truncated; `where` names it in the message.
    """
    header = read_header(content[:HEADER_BYTES])
    if header is None:
        raise ValueError(f"{where}: not a .npy of uint8 (H, W, 3) in C order")
    if len(content) != header.total:
        raise ValueError(f"{where}: {len(content)} bytes, but its header says {header.total}")
    pixels = np.frombuffer(content, np.uint8, 3 * header.height * header.width, header.length)
    return pixels.reshape(header.height, header.width, 3)
