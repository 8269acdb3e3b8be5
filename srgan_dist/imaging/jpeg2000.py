"""JPEG 2000 with other depths than 8 bits, which Pillow shifts to 8 or 16 bits instead of scaling."""

from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.imaging.raster import UnsupportedImageError, scale_to_unit

_SIZE_MARKER = b"\xff\x4f\xff\x51"
"""Start of codestream, followed by the image and tile sizes (ISO/IEC 15444-1, annex A.5.1)."""
_HEADER_BYTES = 1 << 20
_PLAIN_COLORS = (16, 17)
"""Enumerated color spaces of a JP2 file that need no conversion: sRGB and gray."""


class Precision(NamedTuple):
    """Depth of the components of a JPEG 2000 image."""

    bits: tuple[int, ...]
    """Bits of each component."""
    signed: bool
    header: bytes
    """Beginning of the file, with all boxes in front of the codestream."""


def read_precision(stream: IO[bytes]) -> Precision:
    """Return the depth that a JPEG 2000 file states.

    Raises:
        UnsupportedImageError: If the codestream cannot be found.
    """
    stream.seek(0)
    head = stream.read(_HEADER_BYTES)
    stream.seek(0)
    start = head.find(_SIZE_MARKER)
    if start < 0:
        raise UnsupportedImageError("a JPEG 2000 file without a codestream in its first megabyte")
    count = int.from_bytes(head[start + 40 : start + 42], "big")
    depths = head[start + 42 : start + 42 + 3 * count : 3]
    return Precision(tuple((d & 127) + 1 for d in depths), any(d & 128 for d in depths), head[:start])


def read_jpeg2000(stream: IO[bytes], precision: Precision) -> NDArray[Any]:
    """Return (h, w, C) uint16 or float64 in [0, 1], with C from 1 to 4.

    Raises:
        UnsupportedImageError: If the components are signed, differ in depth, or need a color conversion, or imagecodecs
            is not installed.
    """
    bits = precision.bits[0]
    color = precision.header.find(b"colr")
    space = int.from_bytes(precision.header[color + 7 : color + 11], "big")
    is_converted = color >= 0 and precision.header[color + 4] == 1 and space not in _PLAIN_COLORS
    if precision.signed or len(set(precision.bits)) > 1 or is_converted or b"pclr" in precision.header:
        raise UnsupportedImageError(f"a JPEG 2000 image of {bits} bits in an unusual color space; save it as PNG")
    try:
        import imagecodecs
    except ImportError:
        raise UnsupportedImageError(f"a JPEG 2000 image of {bits} bits: install 'srgan-dist[tiff]'") from None
    values = np.atleast_3d(imagecodecs.jpeg2k_decode(stream.read()))
    return values if bits == 16 else scale_to_unit(values, bits)
