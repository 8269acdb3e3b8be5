"""Image files with everything that upscaling preserves: bit depth, gray, alpha, color profile and EXIF."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from srgan_dist.imaging.images import decoding
from srgan_dist.imaging.png16 import write_png16

Format = Literal["png", "jpg", "webp", "tif"]
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Pillow's names of the formats that can be written, by extension."""

_MAX_SIDE = {"JPEG": 65535, "WEBP": 16383}
"""Largest side that a format supports, in pixels."""
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
_LAYOUT_TAGS = {_ORIENTATION, *range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, 320, *range(322, 326), 338,
                339, 330, 347, 512, 529, 530, 531, 532, 34675}  # fmt: skip


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


def read_photo(file: Path) -> Photo:
    """Read an image file in its own bit depth, 8 or 16 bits per channel.

    Raises:
        ValueError: If the file does not exist, is not an image, is corrupt, has several frames or pages or 32 bits per
            pixel, or may be a decompression bomb.
    """
    try:
        with decoding(str(file)), Image.open(file) as image:
            upright, icc, exif, remark = _upright(file, image)
    except _UnsupportedImageError as error:
        raise ValueError(f"{file}: {error}") from None
    gray, has_alpha = upright.shape[2] < 3, upright.shape[2] in (2, 4)
    pixels = upright[:, :, : 1 if gray else 3]
    return Photo(pixels, upright[:, :, -1] if has_alpha else None, icc, exif, remark)


class _UnsupportedImageError(Exception):
    """The file is valid, but this kind of image cannot be upscaled."""


def _upright(file: Path, image: Image.Image) -> tuple[NDArray[Any], bytes | None, bytes | None, str]:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a JPEG from a phone, followed by a preview
        raise _UnsupportedImageError(f"has {frames} frames; extract them into separate images first")
    deep = image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))
    orientation, exif = _exif(image)
    image.load()
    channels, icc, remark = _deep(file, image) if deep else _channels(image)
    return np.ascontiguousarray(_UNDO_ORIENTATION.get(orientation, lambda a: a)(channels)), icc, exif, remark


def _exif(image: Image.Image) -> tuple[int, bytes | None]:
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    for tag in _LAYOUT_TAGS & set(exif):
        del exif[tag]
    return orientation, exif.tobytes() if len(exif) else None


_Channels = tuple[NDArray[Any], bytes | None, str]


def _channels(image: Image.Image) -> _Channels:
    """Return (h, w, C) with C from 1 to 4 (gray or RGB, with or without alpha), the color profile and a remark."""
    icc = image.info.get("icc_profile")
    if image.mode.startswith("I") and image.mode != "I":
        return np.asarray(image).astype(np.uint16)[:, :, None], icc, ""
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise _UnsupportedImageError(
                "has 32 bits per pixel, for which there is no standard range; save it with 16 bits"
            )
        return values.astype(np.uint16)[:, :, None], icc, ""
    if image.mode == "CMYK":
        return np.asarray(_from_cmyk(image, icc)), _srgb(), "CMYK, converted to sRGB"
    gray, alpha = image.mode in ("1", "L", "LA", "La"), image.has_transparency_data
    mode = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    return np.atleast_3d(np.asarray(image.convert(mode))), None if image.mode == "LAB" else icc, ""


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


def _deep(file: Path, image: Image.Image) -> _Channels:
    """Read 16 bits per color channel, which Pillow would reduce to 8; see `_channels`."""
    icc = image.info.get("icc_profile")
    if image.format == "PNG":
        from torchvision.io import ImageReadMode, decode_png, read_file

        return decode_png(read_file(str(file)), ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy(), icc, ""
    try:
        import tifffile
    except ImportError:
        return np.asarray(image), icc, "16 bits read as 8: install 'srgan-dist[tiff]' to keep them"
    return tifffile.imread(file), icc, ""


def upscale_alpha(alpha: NDArray[Any], scale: int) -> NDArray[Any]:
    """Return an alpha channel (h, w), uint8 or uint16, upscaled to (scale*h, scale*w) with bicubic interpolation."""
    size = alpha.shape[1] * scale, alpha.shape[0] * scale
    if alpha.dtype == np.uint8:
        return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
    floats = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(floats).clip(0, 65535).round().astype(np.uint16)


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
        _write_tiff16(image, source, out)
    else:
        _write_by_pillow(image, source, out, kind, quality)


def _write_tiff16(image: NDArray[Any], source: Photo, out: IO[bytes]) -> None:
    try:
        import tifffile
    except ImportError:
        raise ValueError("16-bit TIFF needs tifffile: install 'srgan-dist[tiff]', or write .png") from None
    photometric = "rgb" if image.shape[2] > 2 else "minisblack"
    extra = ["unassalpha"] if image.shape[2] in (2, 4) else None
    content = image[:, :, 0] if image.shape[2] == 1 else image
    tifffile.imwrite(out, content, photometric=photometric, extrasamples=extra, iccprofile=source.icc, metadata=None)


def _write_by_pillow(image: NDArray[Any], source: Photo, out: IO[bytes], kind: str, quality: int) -> None:
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
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
