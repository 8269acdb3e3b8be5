"""HEIC files, which pillow-heif decodes. Only this module imports it."""

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from srgan_dist.imaging.raster import UnsupportedImageError, scale_to_unit

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def is_heif(stream: IO[bytes]) -> bool:
    """Return whether a file begins like a HEIC or HEIF image; AVIF, which shares the container, does not count."""
    head = stream.read(64)
    stream.seek(0)
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, 64, 4))}
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS and not brands & {b"avif", b"avis"}


def open_heif(stream: IO[bytes]) -> ImageFile.ImageFile:
    """Open a HEIC image as a Pillow image of 8 bits per channel.

    Raises:
        UnsupportedImageError: If pillow-heif is not installed.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnsupportedImageError("a HEIC image: install 'srgan-dist[heic]'") from None
    return HeifImageFile(stream)


def read_deep_heif(stream: IO[bytes], bits: int) -> NDArray[Any]:
    """Return a HEIC image of 10 or 12 bits, which pillow-heif would cut to 8, as (h, w, C) float64 in [0, 1].

    Raises:
        UnsupportedImageError: If the colors are multiplied by alpha.
    """
    import pillow_heif

    stream.seek(0)
    image = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
    if "a" in image.mode:
        raise UnsupportedImageError(f"a HEIC image of {bits} bits with premultiplied alpha; save it as PNG")
    return scale_to_unit(np.atleast_3d(np.asarray(image)) >> (16 - bits), bits)
