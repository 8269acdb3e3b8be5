"""Reading and writing image files as RGB uint8, with errors that name the file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan_dist.imaging.decoding import decode_image
from srgan_dist.imaging.raster import Raster, composite_on_white
from srgan_dist.utils.files import atomic_output, output_errors

Pixels = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

WRITABLE = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
"""Extensions of the formats that `write` encodes."""


def read(file: Path, max_pixels: int | None = None) -> Pixels:
    """Read an image file as (H, W, 3) uint8 RGB, with its EXIF orientation applied.

    Gray, palette and CMYK images are converted to RGB, deeper ones are rounded to 8 bits, and transparent images are
    composited on white, so that the colors of hidden pixels do not matter.

    Args:
        file: The image file.
        max_pixels: Largest number of pixels; None for as many as the free memory can hold.

    Raises:
        ValueError: See `decode_image`.
    """
    return to_rgb(decode_image(file, str(file), max_pixels).raster)


def decode(content: bytes | memoryview, where: str) -> Pixels:
    """Decode an image from the bytes of a file, like `read`.

    Args:
        content: The encoded image.
        where: The image's name in error messages.

    Raises:
        ValueError: See `decode_image`.
    """
    return to_rgb(decode_image(content, where).raster)


def to_rgb(raster: Raster) -> Pixels:
    """Convert a raster to (H, W, 3) uint8 RGB on white; see `read`."""
    colors = composite_on_white(raster)
    return np.repeat(colors, 3, axis=2) if colors.shape[2] == 1 else np.ascontiguousarray(colors)


def write(image: Pixels, file: Path) -> None:
    """Write (H, W, 3) uint8 RGB atomically, in the format of the file's extension. Create the folder if necessary.

    Raises:
        ValueError: If the extension is not in `WRITABLE`, or the file cannot be written.
    """
    if file.suffix.lower() not in WRITABLE:
        raise ValueError(f"{file}: cannot write {file.suffix or 'a file without extension'}; use .png, .jpg or .webp")
    with output_errors(file), atomic_output(file) as out:
        Image.fromarray(image).save(out, Image.registered_extensions()[file.suffix.lower()])
