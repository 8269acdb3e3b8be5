"""An encoder for PNG files with 16 bits per channel, which Pillow writes only for gray."""

import struct
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's color types by number of channels."""
_ROWS = 64
"""Rows that are filtered and compressed at a time, to bound the memory."""


def write_png16(image: NDArray[np.uint16], out: IO[bytes], icc: bytes | None = None, exif: bytes | None = None) -> None:
    """Encode a PNG file. PNG specification, third edition, sections 5 to 11.

    Args:
        image: (H, W, C) uint16, with C from 1 to 4: gray, gray with alpha, RGB or RGBA.
        out: A binary file that is open for writing.
        icc: ICC color profile.
        exif: EXIF data as Pillow returns it, with or without the `Exif` prefix.
    """
    height, width, channels = image.shape
    out.write(b"\x89PNG\r\n\x1a\n")
    _chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPES[channels], 0, 0, 0))
    if icc:
        _chunk(out, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if exif:
        _chunk(out, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    compressor = zlib.compressobj(3)
    above = np.zeros((1, width * channels * 2), np.uint8)
    for top in range(0, height, _ROWS):
        rows: NDArray[Any] = image[top : top + _ROWS].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        filtered = rows - np.concatenate([above, rows[:-1]])  # filter 2, "up"
        scanlines = np.concatenate([np.full((len(rows), 1), 2, np.uint8), filtered], axis=1)
        _chunk(out, b"IDAT", compressor.compress(scanlines.tobytes()))
        above = rows[-1:]
    _chunk(out, b"IDAT", compressor.flush())
    _chunk(out, b"IEND", b"")


def _chunk(out: IO[bytes], kind: bytes, content: bytes) -> None:
    out.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
