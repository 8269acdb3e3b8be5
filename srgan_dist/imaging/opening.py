"""Opening of image files with Pillow: which files are opened, up to which size, and errors that name the file."""

import io
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from srgan_dist.imaging.extensions import TGA_EXTENSIONS
from srgan_dist.imaging.heif import is_heif, open_heif
from srgan_dist.imaging.raster import UnsupportedImageError
from srgan_dist.utils.host_memory import free_host_bytes

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "AVIF", "JPEG2000")
"""Pillow's names of the formats that are read whatever the file's extension is. Pillow opens MPO as JPEG."""
_NO_IMAGES = {
    b"version https://git-lfs": "a Git LFS pointer; run git lfs pull to get the image",
    b"<!doctype html": "a web page, not an image; download the image itself",
    b"<html": "a web page, not an image; download the image itself",
}
"""What is often found under the name of an image, by how it begins in lower case."""
_BYTES_PER_PIXEL = 16
"""Memory for decoding a pixel: Pillow's own image and the arrays that are made from it."""
_SMALL_IMAGE = 1 << 24
"""Pixels up to which no image is refused without asking how much memory is free."""
_CORRUPT = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError,
    RuntimeError, struct.error,
)  # fmt: skip
"""What Pillow's plugins raise for corrupt files, and torchvision RuntimeError."""
_MAX_TEXT_BYTES = 1 << 28
"""Limit for the texts and profiles of a PNG file; Pillow's own is 1 MiB each."""


@contextmanager
def open_stream(source: Path | bytes | memoryview) -> Generator[IO[bytes]]:
    """Open a file, or the bytes of one, for reading.

    Raises:
        UnsupportedImageError: If the file is missing, empty, or not a regular file: reading a pipe would wait forever.
    """
    if not isinstance(source, Path):
        yield io.BytesIO(source)
        return
    if source.is_symlink() and not source.exists():
        raise UnsupportedImageError(f"a broken link, {source.readlink()} does not exist")
    if not source.exists():
        raise UnsupportedImageError("there is no such file")
    if not source.is_file():
        raise UnsupportedImageError("a folder" if source.is_dir() else "not a regular file")
    if source.stat().st_size == 0:
        raise UnsupportedImageError("an empty file")
    with source.open("rb") as stream:
        yield stream


@contextmanager
def named_errors(where: str) -> Generator[None]:
    """Convert the errors of reading an image in this context into a ValueError that names the image and the reason.

    Args:
        where: The image's name in error messages.
    """
    try:
        with _without_pillow_limits():
            yield
    except UnsupportedImageError as error:
        raise ValueError(f"{where}: {error}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{where}: not an image of a format that can be read") from None
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: too large for the free memory ({error or 'out of memory'})") from None
    except _CORRUPT as error:
        raise ValueError(f"{where}: corrupt or truncated ({' '.join(str(error).split())})") from error


def open_image(stream: IO[bytes], where: str) -> ImageFile.ImageFile:
    """Open an image with the Pillow plugin for its content; TGA, which has no signature, only by its extension.

    Raises:
        UnsupportedImageError: If it is HEIC and pillow-heif is not installed, or if it is a file of another known kind.
        UnidentifiedImageError: If it is no image of a format that is read.
    """
    start = stream.read(64).lstrip().lower()
    stream.seek(0)
    if other := next((kind for signature, kind in _NO_IMAGES.items() if start.startswith(signature)), ""):
        raise UnsupportedImageError(other)
    if is_heif(stream):
        return open_heif(stream)
    is_tga = Path(where).suffix.lower() in TGA_EXTENSIONS
    return Image.open(stream, formats=(*_FORMATS, "TGA") if is_tga else _FORMATS)


def check_size(width: int, height: int, max_pixels: int | None, bytes_per_pixel: int = _BYTES_PER_PIXEL) -> None:
    """Check that an image may be decoded.

    Args:
        width: Width in pixels, as the file's header states it.
        height: Height in pixels.
        max_pixels: Largest number of pixels; None for as many as the free memory can hold.
        bytes_per_pixel: Memory that decoding takes.

    Raises:
        UnsupportedImageError: If the image is larger.
    """
    pixels, size = width * height, f"{width}x{height} pixels"
    if max_pixels is not None:
        if pixels > max_pixels:
            raise UnsupportedImageError(f"{size} are more than --max-pixels {max_pixels}")
    elif pixels > _SMALL_IMAGE and pixels * bytes_per_pixel > (free := free_host_bytes()):
        raise UnsupportedImageError(
            f"{size} need about {pixels * bytes_per_pixel / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are "
            f"free; --max-pixels {pixels} reads it anyway (srgan pack, srgan upscale)"
        )


_limits_lock = threading.Lock()
_limits_saved: list[tuple[int | None, int, int]] = []
"""Pillow's limits, once for every context that is open, for they are variables of its modules."""


@contextmanager
def _without_pillow_limits() -> Generator[None]:
    """Lift Pillow's limit of 89 megapixels and those of a PNG's texts and profile; see `check_size`."""
    with _limits_lock:
        _limits_saved.append(
            _limits_saved[0]
            if _limits_saved
            else (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
        )
        Image.MAX_IMAGE_PIXELS = None
        PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = _MAX_TEXT_BYTES
    try:
        yield
    finally:
        with _limits_lock:
            limits = _limits_saved.pop()
            if not _limits_saved:  # restored by the last context that ends, in whichever thread
                Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = limits
