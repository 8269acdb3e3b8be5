"""Image files with everything that upscaling preserves: bit depth, gray, alpha, color profile and EXIF."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan_dist.imaging.decoding import decode_image
from srgan_dist.imaging.png16 import write_png16
from srgan_dist.imaging.raster import to_uint8, to_uint16
from srgan_dist.imaging.tiff import write_tiff16

Format = Literal["png", "jpg", "webp", "tif"]
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Pillow's names of the formats that can be written, by extension."""

_MAX_SIDE = {"JPEG": 65535, "WEBP": 16383}
"""Largest side that a format supports, in pixels."""


@dataclass(frozen=True)
class Photo:
    """An image with its EXIF orientation applied, and its metadata."""

    pixels: NDArray[Any]
    """(h, w, C) uint8 or uint16; C is 1 for gray or 3 for RGB."""
    alpha: NDArray[Any] | None = None
    """(h, w), of the same dtype as `pixels`; None without transparency."""
    icc: bytes | None = None
    """The ICC color profile of `pixels`."""
    exif: bytes | None = None
    """EXIF data without the orientation, which has been applied to the pixels."""
    remark: str = ""
    """What was converted or lost on reading, for the log; empty if nothing was."""


def read_photo(file: Path, max_pixels: int | None = None) -> Photo:
    """Read an image file in its own bit depth, 8 or 16 bits per channel; floats are rounded to 16 bits.

    Args:
        file: The image file.
        max_pixels: Largest number of pixels; None for as many as the free memory can hold.

    Raises:
        ValueError: See `decode_image`.
    """
    (pixels, alpha), icc, exif, remark = decode_image(file, str(file), max_pixels)
    return Photo(to_uint16(pixels), None if alpha is None else to_uint16(alpha), icc, exif, remark)


def check_target(file: Path, height: int, width: int) -> None:
    """Check before any work is done that a result can be written to a file.

    Args:
        file: The output file, whose extension selects the format.
        height: Height of the result in pixels.
        width: Width of the result in pixels.

    Raises:
        ValueError: If the extension is not in `FORMATS`, or the result is too large for the format.
    """
    kind = FORMATS.get(file.suffix.lower())
    if kind is None:
        raise ValueError(f"{file}: cannot write {file.suffix or 'a file without extension'}; use {', '.join(FORMATS)}")
    if max(height, width) > _MAX_SIDE.get(kind, 1 << 31):
        raise ValueError(
            f"{file}: {kind} supports at most {_MAX_SIDE[kind]} pixels per side, not {width}x{height}; use .png"
        )


def write_photo(image: NDArray[Any], source: Photo, out: IO[bytes], kind: str, quality: int) -> None:
    """Encode an image with the color profile and EXIF of `source`.

    Formats other than PNG and TIFF store 8 bits per channel; JPEG stores transparent images composited on white.

    Args:
        image: (H, W, C) uint8 or uint16, with C from 1 to 4: gray or RGB, with or without alpha.
        source: The image that was upscaled.
        out: A binary file that is open for writing.
        kind: A value of `FORMATS`.
        quality: Quality of JPEG and WebP, 1 to 100.

    Raises:
        ValueError: If a 16-bit TIFF is to be written and tifffile is not installed.
    """
    if image.dtype == np.uint16 and kind == "PNG":
        write_png16(image, out, source.icc, source.exif)
    elif image.dtype == np.uint16 and kind == "TIFF":
        write_tiff16(image, out, source.icc)
    else:
        _write_by_pillow(image, source, out, kind, quality)


def _write_by_pillow(image: NDArray[Any], source: Photo, out: IO[bytes], kind: str, quality: int) -> None:
    if image.dtype == np.uint16:
        image = to_uint8(image)
    flat = image[:, :, 0] if image.shape[2] == 1 else image
    pil_image = Image.fromarray(flat)
    if kind == "JPEG" and image.shape[2] in (2, 4):
        rgba = pil_image.convert("RGBA")
        pil_image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    options: dict[str, Any] = {"PNG": {"compress_level": 3}, "TIFF": {"compression": "tiff_adobe_deflate"}}.get(
        kind, {"quality": quality}
    )
    if kind == "JPEG":
        options["subsampling"] = 0  # without chroma subsampling, which would discard generated detail
    if source.icc and (source.icc[16:20] == b"GRAY") == (pil_image.mode in ("L", "LA")):
        options["icc_profile"] = source.icc
    if source.exif:
        options["exif"] = source.exif
    pil_image.save(out, kind, **options)
