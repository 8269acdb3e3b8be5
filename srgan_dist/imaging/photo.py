"""Image files with everything that an enlargement keeps: depth, gray, alpha, color profile, EXIF."""

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
"""What can be written, by extension."""

_LONGEST = {"JPEG": 65535, "WEBP": 16383}
_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
# How a TIFF stores its pixels stands among its EXIF tags, and is another matter for the upscaled file.
_LAYOUT = {_ORIENTATION, *range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, 320, *range(322, 326), 338, 339,
           330, 347, 512, 529, 530, 531, 532, 34675}  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """An image, upright, and what goes with it."""

    pixels: NDArray[Any]
    """(h, w, C) uint8 or uint16; C is 1 for gray, 3 for RGB."""
    alpha: NDArray[Any] | None = None
    """(h, w), of the same type."""
    icc: bytes | None = None
    """The color profile of `pixels`."""
    exif: bytes | None = None
    """Without the orientation, which the pixels have now."""
    remark: str = ""
    """What had to be converted."""


def read_photo(file: Path) -> Photo:
    """An image file, with 16 bits where it has them.

    Raises:
        ValueError: not an image, corrupt, animated, of several pages, or so large that it may be a bomb.
    """
    try:
        with decoding(str(file)), Image.open(file) as image:
            upright, icc, exif, remark = _upright(file, image)
    except _Refused as error:
        raise ValueError(f"{file}: {error}") from None
    gray, has_alpha = upright.shape[2] < 3, upright.shape[2] in (2, 4)
    pixels = upright[:, :, : 1 if gray else 3]
    return Photo(pixels, upright[:, :, -1] if has_alpha else None, icc, exif, remark)


class _Refused(Exception):  # noqa: N818
    """The file is sound, but not one that can be upscaled."""


def _upright(file: Path, image: Image.Image) -> tuple[NDArray[Any], bytes | None, bytes | None, str]:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG with a preview behind it
        raise _Refused(f"{frames} frames; take it apart into single images first")
    deep = image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))
    orientation, exif = _exif(image)
    image.load()
    channels, icc, remark = _deep(file, image) if deep else _channels(image)
    return np.ascontiguousarray(_UPRIGHT.get(orientation, lambda a: a)(channels)), icc, exif, remark


def _exif(image: Image.Image) -> tuple[int, bytes | None]:
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    for tag in _LAYOUT & set(exif):
        del exif[tag]
    return orientation, exif.tobytes() if len(exif) else None


_Channels = tuple[NDArray[Any], bytes | None, str]


def _channels(image: Image.Image) -> _Channels:
    """(h, w, C), C being 1 to 4: gray or RGB, perhaps with alpha."""
    icc = image.info.get("icc_profile")
    if image.mode.startswith("I") and image.mode != "I":
        return np.asarray(image).astype(np.uint16)[:, :, None], icc, ""
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise _Refused("32 bits per pixel, which has no agreed range; save it with 16")
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
    except (ImageCms.PyCMSError, OSError):  # a corrupt profile: as good as none
        pass
    return image.convert("RGB")


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _deep(file: Path, image: Image.Image) -> _Channels:
    """16 bits of color, which Pillow would cut down to 8."""
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
    """(h, w) at `scale` times its size, bicubic."""
    size = alpha.shape[1] * scale, alpha.shape[0] * scale
    if alpha.dtype == np.uint8:
        return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
    floats = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(floats).clip(0, 65535).round().astype(np.uint16)


def check_target(file: Path, height: int, width: int) -> None:
    """Raises ValueError where a result of that size cannot become that file, before any work is done."""
    kind = FORMATS.get(file.suffix.lower())
    if kind is None:
        raise ValueError(f"{file}: cannot write {file.suffix or 'a file without extension'}; use {', '.join(FORMATS)}")
    if max(height, width) > _LONGEST.get(kind, 1 << 31):
        raise ValueError(f"{file}: {kind} ends at {_LONGEST[kind]} pixels a side, this is {width}x{height}; use .png")


def write_photo(image: NDArray[Any], source: Photo, out: IO[bytes], kind: str, quality: int) -> None:
    """Encodes (H, W, C) uint8 or uint16, C being 1 to 4, with the profile and EXIF of `source`."""
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
    picture = Image.fromarray(flat)
    if kind == "JPEG" and image.shape[2] in (2, 4):
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    options: dict[str, Any] = {"PNG": {"compress_level": 3}, "TIFF": {"compression": "tiff_adobe_deflate"}}.get(
        kind, {"quality": quality}
    )
    if kind == "JPEG":
        options["subsampling"] = 0  # full color: what was just made is not thrown away
    if source.icc and (source.icc[16:20] == b"GRAY") == (picture.mode in ("L", "LA")):
        options["icc_profile"] = source.icc
    if source.exif:
        options["exif"] = source.exif
    picture.save(out, kind, **options)
