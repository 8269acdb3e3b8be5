"""PPM files with 16 bits per channel, which Pillow rounds to 8."""

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from srgan_dist.imaging.raster import UnsupportedImageError


def read_ppm16(stream: IO[bytes], image: ImageFile.ImageFile) -> NDArray[Any] | None:
    """Return (h, w, 3) float64 in [0, 1], or None if the file has 8 bits.

    Args:
        stream: The file.
        image: The file as Pillow opened it, before its pixels are loaded.

    Raises:
        UnsupportedImageError: If the pixels are stored as text, or are brighter than the file's maximum.
        OSError: If the file is truncated.
    """
    codec, _, offset, arguments = image.tile[0]
    if image.mode != "RGB" or not isinstance(arguments, tuple) or int(arguments[1]) <= 255:
        return None
    if codec != "ppm":
        raise UnsupportedImageError("has 16 bits per channel as text; save it as PNG")
    stream.seek(offset)
    width, height = image.size
    content = stream.read(width * height * 6)
    if len(content) < width * height * 6:
        raise OSError("image file is truncated")
    values = np.frombuffer(content, ">u2").reshape(height, width, 3) / int(arguments[1])
    if values.max() > 1:
        raise UnsupportedImageError("has pixels above the maximum that it states")
    return values
