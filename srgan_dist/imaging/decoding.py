"""Decoding of image files at their own depth, with the color profile and EXIF. All readers of images use this."""

import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from srgan_dist.imaging.heif import read_deep_heif
from srgan_dist.imaging.jpeg2000 import read_jpeg2000, read_precision
from srgan_dist.imaging.opening import check_size, named_errors, open_image, open_stream
from srgan_dist.imaging.png16 import read_png16
from srgan_dist.imaging.ppm import read_ppm16
from srgan_dist.imaging.raster import Raster, UnsupportedImageError, check_unit_range, split_alpha, to_uint8
from srgan_dist.imaging.tiff import TiffPage, interpret, is_tiff, read_page, read_samples

_ORIENTATION = 0x0112
_UNDO_ORIENTATION: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""Operations that undo an EXIF orientation, by its value."""
# The EXIF tags of a TIFF also describe how its pixels are stored, which does not apply to the upscaled file.
_LAYOUT_TAGS = {_ORIENTATION, *range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, 320, *range(322, 326), 330,
                338, 339, 347, 512, 529, 530, 531, 532, 34675}  # fmt: skip
_GRAY_MODES = ("1", "L", "LA", "La")
_LEVELS = {"1": 255, "L;2": 85, "L;4": 17}
"""Factor from the values of a PNG with 1, 2 or 4 bits to 8 bits, by Pillow's raw mode."""


class Decoded(NamedTuple):
    """An image with its EXIF orientation applied, and its metadata."""

    raster: Raster
    icc: bytes | None
    exif: bytes | None
    """EXIF data without the orientation and the layout."""
    remark: str
    """What was converted or lost, for the log."""


class _Channels(NamedTuple):
    values: NDArray[Any]
    """(h, w, C) with C from 1 to 4: gray, gray with alpha, RGB or RGBA."""
    icc: bytes | None
    remark: str = ""


def decode_image(source: Path | bytes | memoryview, where: str, max_pixels: int | None = None) -> Decoded:
    """Decode an image file, or the bytes of one, at its own depth.

    Args:
        source: The file or its bytes.
        where: The image's name in error messages.
        max_pixels: Largest number of pixels; None for as many as the free memory can hold.

    Raises:
        ValueError: If the file does not exist, is not an image, is truncated, has several frames, is too large, or
            cannot be read correctly. The message says which, and names the image.
    """
    with named_errors(where), open_stream(source) as stream:
        if is_tiff(stream):
            page = read_page(stream)
            check_size(page.width, page.height, max_pixels, page.bytes_per_pixel)
            channels, orientation, exif, remark = _read_tiff(stream, page)
        else:
            channels, orientation, exif, remark = _read_other(stream, where, max_pixels)
        upright = _UNDO_ORIENTATION.get(orientation, lambda a: a)(channels.values)
        remarks = ", ".join(filter(None, (channels.remark, remark)))
        return Decoded(split_alpha(np.ascontiguousarray(upright)), channels.icc, exif, remarks)


def _read_other(stream: IO[bytes], where: str, max_pixels: int | None) -> tuple[_Channels, int, bytes | None, str]:
    with open_image(stream, where) as image:
        check_size(*image.size, max_pixels)
        deep = _read_depth_that_pillow_reduces(stream, image)  # before anything loads the pixels
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # MPO: a JPEG from a phone, followed by a preview
            raise UnsupportedImageError(f"has {frames} frames; extract them into separate images first")
        remark = f"{frames - 1} further images of the MPO file left out" if frames > 1 else ""
        orientation, exif, corrupt = _read_exif(image)
        icc = image.info.get("icc_profile")
        channels = _read_channels(image) if deep is None else _Channels(deep, icc)
        return channels, orientation, exif, ", ".join(filter(None, (remark, corrupt)))


def _read_depth_that_pillow_reduces(stream: IO[bytes], image: ImageFile.ImageFile) -> NDArray[Any] | None:
    """Return (h, w, C), or None if Pillow reads the image at its own depth."""
    layout = _layout(image)
    if image.format == "PNG":
        if layout in _LEVELS and isinstance(key := image.info.get("transparency"), int):
            image.info["transparency"] = min(255, key * _LEVELS[layout])  # as Pillow scales the pixels
        if image.mode in ("RGB", "RGBA") and ";16" in layout:
            return read_png16(stream, image.info.get("transparency"))
    if image.format == "PPM":
        return read_ppm16(stream, image)
    if image.format == "JPEG2000":
        precision = read_precision(stream)
        is_plain = set(precision.bits) == {8} and not precision.signed
        return None if is_plain else read_jpeg2000(stream, precision)
    if image.format == "HEIF" and (bits := int(image.info.get("bit_depth", 8))) > 8:
        return read_deep_heif(stream, bits)
    return None


def _read_exif(image: Image.Image) -> tuple[int, bytes | None, str]:
    """Return the orientation, the EXIF data without it, and a remark if they are corrupt."""
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION, 1)
        for tag in _LAYOUT_TAGS & set(exif):
            del exif[tag]
        return orientation, exif.tobytes() if len(exif) else None, ""
    except (SyntaxError, ValueError, TypeError, LookupError, EOFError, OSError, struct.error):
        return 1, None, "corrupt EXIF data left out"


def _read_tiff(stream: IO[bytes], page: TiffPage) -> tuple[_Channels, int, bytes | None, str]:
    with _pillow_page(stream, page) as image:
        if image is None:
            return _interpret(read_samples(stream, page), page), page.orientation, None, ""
        if page.needs_tifffile:
            _, exif, corrupt = _read_exif(image)
            return _interpret(read_samples(stream, page), page), page.orientation, exif, corrupt
        image.load()  # Pillow applies the orientation of TIFF files itself, and removes it from the tags
        orientation, exif, corrupt = _read_exif(image)
        if page.is_deep:
            return _interpret(np.atleast_3d(np.asarray(image)), page), orientation, exif, corrupt
        return _read_channels(image), orientation, exif, corrupt


@contextmanager
def _pillow_page(stream: IO[bytes], page: TiffPage) -> Generator[Image.Image | None]:
    """Open the page with Pillow; yield None if it has a layout that Pillow does not know."""
    try:
        image = Image.open(stream, formats=("TIFF",))
    except (OSError, SyntaxError, ValueError):
        yield None
        return
    with image:
        image.seek(page.number)
        yield image


def _interpret(values: NDArray[Any], page: TiffPage) -> _Channels:
    channels = interpret(values, page)
    if page.photometric != 5:
        return _Channels(channels, page.icc)
    inks = Image.fromarray(to_uint8(channels[:, :, :4]), "CMYK")
    return _Channels(np.array(_from_cmyk(inks, page.icc)), _srgb(), f"CMYK of {page.bits} bits, converted to sRGB")


def _read_channels(image: Image.Image) -> _Channels:
    """Return what Pillow decodes correctly itself: 8 bits or less, and 16 bits of gray."""
    icc = image.info.get("icc_profile")
    if image.mode == "I" and image.format != "PPM":
        raise UnsupportedImageError("has 32 bits per pixel, for which there is no standard range; save it with 16 bits")
    image.load()
    if image.mode.startswith("I"):
        return _Channels(_with_key(np.asarray(image).astype(np.uint16)[:, :, None], image), icc)
    if image.mode == "1":  # older versions of Pillow do not find its transparent color
        return _Channels(_with_key(np.array(image.convert("L"))[:, :, None], image), icc)
    if image.mode == "F":
        return _Channels(check_unit_range(np.asarray(image))[:, :, None], icc)
    if image.mode == "CMYK":
        return _Channels(np.array(_from_cmyk(image, icc)), _srgb(), "CMYK, converted to sRGB")
    remark = "LAB, converted to sRGB" if image.mode == "LAB" else ""
    gray, alpha = image.mode in _GRAY_MODES, image.has_transparency_data
    mode = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    return _Channels(np.atleast_3d(np.array(image.convert(mode))), None if remark else icc, remark)


def _layout(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name for the layout of the stored pixels."""
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _with_key(gray: NDArray[Any], image: Image.Image) -> NDArray[Any]:
    """Return gray (h, w, 1), uint8 or uint16, with alpha if the file makes one value transparent."""
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return gray
    return np.concatenate([gray, (gray != key).astype(gray.dtype) * np.iinfo(gray.dtype).max], axis=2)


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Image.Image:
    try:
        if icc:
            converted = ImageCms.profileToProfile(image, BytesIO(icc), ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or image.convert("RGB")
    except (ImageCms.PyCMSError, OSError):  # a corrupt profile is ignored
        pass
    return image.convert("RGB")


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
