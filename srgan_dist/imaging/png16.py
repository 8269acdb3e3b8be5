"""PNG files with 16 bits per channel, which Pillow reads and writes only for gray."""

import struct
import zlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

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


def read_png16(stream: IO[bytes], key: Sequence[int] | None) -> NDArray[Any]:
    """Decode a PNG file with 16 bits per channel and more than one channel.

    Pillow keeps 8 of the 16 bits. Which ones is up to the layout that it is told, so that two passes give both halves.

    Args:
        stream: The file.
        key: The color that the file's tRNS chunk makes transparent, or None.

    Returns:
        (h, w, C) uint16, with C from 2 to 4; a transparent color becomes an alpha channel.

    Raises:
        OSError: If the file is corrupt or truncated.
        SyntaxError: The same.
    """
    layout = _read_bytes(stream, None)[1]
    if layout == "LA;16B":  # four bytes per pixel, as in RGBA with 8 bits
        values = _read_bytes(stream, "RGBA")[0].copy().view(">u2").astype(np.uint16)
    else:
        high, low = (_read_bytes(stream, name)[0] for name in (layout, layout.replace(";16B", ";16L")))
        values = high.astype(np.uint16) << 8 | low
    if key is None:
        return values
    visible = (values != np.array(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([values, visible.astype(np.uint16) * np.uint16(65535)], axis=2)


def _read_bytes(stream: IO[bytes], layout: str | None) -> tuple[NDArray[np.uint8], str]:
    """Return the bytes that Pillow takes from the pixels in a layout, and the layout; with None, only that of the file.

    The bytes are (h, w, 3) or (h, w, 4) uint8.
    """
    stream.seek(0)
    with Image.open(stream, formats=("PNG",)) as image:
        codec, extents, offset, own = image.tile[0]
        if layout is None:
            return np.empty((0, 0, 0), np.uint8), str(own)
        image.tile = [ImageFile._Tile(codec, extents, offset, layout)]  # pyright: ignore[reportPrivateUsage]
        image.info.pop("transparency", None)
        image.load()
        return np.asarray(image), layout
