"""Reading and writing image files as RGB uint8, with errors that name the file."""

import io
import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from srgan_dist.imaging.extensions import EXTENSIONS
from srgan_dist.utils.files import atomic_output, output_errors

Pixels = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


_CORRUPT = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError,
    MemoryError, NotImplementedError, struct.error,
)  # fmt: skip
"""What Pillow's plugins raise for corrupt files."""
_STRIP_VALUES = 1 << 22


def list_images(folder: Path) -> list[Path]:
    """Return the image files in a folder, without its subfolders, sorted by name.

    Raises:
        ValueError: If the folder does not exist or contains no images.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in EXTENSIONS and not f.name.startswith("."))
    if not files:
        raise ValueError(f"{folder}: no images here (looked for {', '.join(sorted(EXTENSIONS))})")
    return files


def read(file: Path) -> Pixels:
    """Read an image file as (H, W, 3) uint8 RGB, with its EXIF orientation applied.

    Gray, palette and CMYK images are converted to RGB, 16-bit gray is rounded to 8 bits, and transparent images are
    composited on white.

    Raises:
        ValueError: If the file does not exist, is not an image, is truncated, or may be a decompression bomb.
    """
    with decoding(str(file)), Image.open(file) as image:
        return _upright(image)


def decode(content: bytes | memoryview, where: str) -> Pixels:
    """Decode an image from the bytes of a file, like `read`.

    Args:
        content: The encoded image.
        where: The image's name in error messages.

    Raises:
        ValueError: See `read`.
    """
    with decoding(where), Image.open(io.BytesIO(content)) as image:
        return _upright(image)


def _upright(image: Image.Image) -> Pixels:
    image.load()
    return to_rgb(ImageOps.exif_transpose(image))


@contextmanager
def decoding(where: str) -> Generator[None]:
    """Convert the errors that Pillow raises in this context into a ValueError that says which file is wrong, and why.

    Args:
        where: The image's name in error messages.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except FileNotFoundError:
        raise ValueError(f"{where}: there is no such file") from None
    except UnidentifiedImageError:
        raise ValueError(f"{where}: not an image that Pillow can read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{where}: too large ({error})") from None
    except _CORRUPT as error:
        raise ValueError(f"{where}: corrupt or truncated ({error})") from error


def to_rgb(image: Image.Image) -> Pixels:
    """Convert an image of any Pillow mode to (H, W, 3) uint8 RGB; see `read`."""
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion of 16-bit gray clips at 255
        return _gray_to_rgb(np.asarray(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def _gray_to_rgb(gray: NDArray[Any]) -> Pixels:
    """Convert (H, W) gray of more than 8 bits to RGB, in strips: as float64 it would take eight times the memory."""
    peak = 65535.0 if gray.max(initial=0) > 255 else 255.0
    rgb = np.empty((*gray.shape, 3), np.uint8)
    rows = max(1, _STRIP_VALUES // max(1, gray.shape[1]))
    for top in range(0, len(gray), rows):
        levels = np.nan_to_num(gray[top : top + rows].astype(np.float64), nan=0.0).clip(0, peak) / peak
        rgb[top : top + rows] = np.floor(levels * 255 + 0.5).astype(np.uint8)[:, :, None]
    return rgb


def write(image: Pixels, file: Path) -> None:
    """Write (H, W, 3) uint8 RGB atomically, in the format of the file's extension. Create the folder if necessary.

    Raises:
        ValueError: If the extension is not in `EXTENSIONS`, or the file cannot be written.
    """
    if file.suffix.lower() not in EXTENSIONS:
        raise ValueError(f"{file}: cannot write {file.suffix or 'a file without extension'}; use .png, .jpg or .webp")
    with output_errors(file), atomic_output(file) as out:
        Image.fromarray(image).save(out, Image.registered_extensions()[file.suffix.lower()])
