"""Image files to and from RGB uint8, with errors that name the file."""

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from srgan_dist.imaging.extensions import EXTENSIONS
from srgan_dist.utils.files import atomic_output, output_errors

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB."""


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name.

    Raises:
        ValueError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in EXTENSIONS and not f.name.startswith("."))
    if not files:
        raise ValueError(f"{folder}: no images here (looked for {', '.join(sorted(EXTENSIONS))})")
    return files


def read(file: Path) -> Pixels:
    """The image as (H, W, 3) uint8 RGB, upright.

    Gray, palette and CMYK are converted, 16-bit is rounded to 8, transparency is laid on white.

    Raises:
        ValueError: missing, not an image, truncated, or so large that it may be a decompression bomb.
    """
    with decoding(str(file)), Image.open(file) as image:
        return _upright(image)


def decode(content: bytes | memoryview, where: str) -> Pixels:
    """The image in these bytes, as `read`; `where` names it in errors."""
    with decoding(where), Image.open(io.BytesIO(content)) as image:
        return _upright(image)


def _upright(image: Image.Image) -> Pixels:
    image.load()
    return to_rgb(ImageOps.exif_transpose(image))


@contextmanager
def decoding(where: str) -> Generator[None]:
    """Turns whatever Pillow raises for a bad file into a ValueError that names it and says what is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except FileNotFoundError:
        raise ValueError(f"{where}: there is no such file") from None
    except UnidentifiedImageError:
        raise ValueError(f"{where}: not an image that Pillow can read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{where}: refused, {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's plugins raise all of these
        raise ValueError(f"{where}: corrupt or truncated ({error})") from error


def to_rgb(image: Image.Image) -> Pixels:
    """Any Pillow mode as (H, W, 3) uint8 RGB; see `read`."""
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion of 16-bit gray clips at 255
        gray = np.asarray(image).astype(np.float64)
        peak = 65535.0 if gray.max(initial=0) > 255 else 255.0
        levels = np.floor(gray.clip(0, peak) / peak * 255 + 0.5).astype(np.uint8)
        return np.repeat(levels[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def write(image: Pixels, file: Path) -> None:
    """Write (H, W, 3) uint8 RGB in the format of the file's extension, atomically.

    Raises:
        ValueError: the extension is not an image format, or the file cannot be written.
    """
    if file.suffix.lower() not in EXTENSIONS:
        raise ValueError(f"{file}: cannot write {file.suffix or 'a file without extension'}; use .png, .jpg or .webp")
    with output_errors(file), atomic_output(file) as out:
        Image.fromarray(image).save(out, Image.registered_extensions()[file.suffix.lower()])
