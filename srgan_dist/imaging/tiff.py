"""TIFF: which page is the image, what its tags say about the samples, and the depths that Pillow does not read."""

import os
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from srgan_dist.imaging.raster import UnsupportedImageError, check_unit_range, scale_to_unit

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REDUCED = 1
"""Bit of NewSubfileType: a preview of another page."""
_UNSIGNED, _FLOAT = 1, 3
"""Values of SampleFormat."""
_COLORS = {0: 1, 1: 1, 2: 3, 5: 4}
"""Number of color samples by photometric interpretation: white is zero, black is zero, RGB, CMYK."""
_ASSOCIATED, _UNASSOCIATED = 1, 2
"""Values of ExtraSamples: alpha by which the colors are multiplied, and by which they are not."""
_WEBP = 50001
"""Compression that Pillow recognizes, but its builds of libtiff cannot decode."""
_NEEDS_EXTRA = "install 'srgan-dist[tiff]'"


class TiffPage(NamedTuple):
    """What the tags of a page say about its samples."""

    number: int
    """Number of the page in the file, from 0."""
    width: int
    height: int
    bits: int
    """Bits per sample."""
    samples: int
    """Samples per pixel, with alpha."""
    is_float: bool
    photometric: int
    extra: tuple[int, ...]
    """ExtraSamples: the meaning of the samples that are no colors."""
    icc: bytes | None
    orientation: int
    compression: int
    is_planar: bool
    """Whether each channel is stored by itself."""

    @property
    def is_deep(self) -> bool:
        """Whether a sample has more than 8 bits."""
        return self.bits > 8

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that decoding takes; samples of odd depths become float64."""
        return 24 * self.samples if self.is_float or self.bits not in (8, 16) else max(16, 6 * self.samples)

    @property
    def needs_tifffile(self) -> bool:
        """Whether Pillow reads this layout wrong, or to 8 bits only."""
        is_gray, is_plain = self.photometric in (0, 1), self.extra in ((), (_UNASSOCIATED,))
        misread = self.is_planar and self.samples > 1 and (is_gray or not is_plain)
        return misread or self.compression == _WEBP or (self.is_deep and self.samples > 1)


def is_tiff(stream: IO[bytes]) -> bool:
    """Return whether a file begins like a TIFF."""
    signature = stream.read(4)
    stream.seek(0)
    return signature in _SIGNATURES


def read_page(stream: IO[bytes]) -> TiffPage:
    """Return the page of a TIFF that holds the image; pages with a preview of it are left aside.

    Raises:
        UnsupportedImageError: If there are several images, or samples of a type without a standard range.
    """
    pages = _directories(stream)
    full = [i for i, tags in enumerate(pages) if not int(tags.get(254, 0)) & _REDUCED]
    if len(full) > 1:
        raise UnsupportedImageError(f"has {len(full)} frames; extract them into separate images first")
    index = full[0] if full else 0
    tags = pages[index]
    if not full and 330 in tags:
        raise UnsupportedImageError("holds its image behind a preview, like camera raw files; save it as a plain TIFF")
    if int(tags.get(32997, 1)) > 1:
        raise UnsupportedImageError("is a volume of several slices; extract them into separate images first")
    formats, bits = set(tags.get(339, (_UNSIGNED,))), set(tags.get(258, (1,)))
    page = TiffPage(
        index, int(tags[256]), int(tags[257]), max(bits), int(tags.get(277, 1)), formats == {_FLOAT},
        int(tags.get(262, 0)), tuple(tags.get(338, ())), tags.get(34675), int(tags.get(274, 1)),
        int(tags.get(259, 1)), int(tags.get(284, 1)) == 2,
    )  # fmt: skip
    if formats not in ({_UNSIGNED}, {_FLOAT}):
        raise UnsupportedImageError("has signed or complex samples, which have no standard range; save it with 16 bits")
    if not page.is_float and page.bits > 16:
        raise UnsupportedImageError(
            f"has {page.bits} bits per sample, for which there is no standard range; save it with 16 bits"
        )
    if len(bits) > 1:
        raise UnsupportedImageError("has samples of different depths")
    return page


def _directories(stream: IO[bytes]) -> list[ImageFileDirectory_v2]:
    """Return the tags of all pages in the main chain."""
    stream.seek(0)
    header = stream.read(8)
    header += stream.read(8) if header[2:4] in (b"+\0", b"\0+") else b""  # BigTIFF
    pages: list[ImageFileDirectory_v2] = []
    offset, seen = ImageFileDirectory_v2(header).next, set[int]()
    while offset and offset not in seen:
        seen.add(offset)
        tags = ImageFileDirectory_v2(header)
        stream.seek(offset)
        tags.load(stream)
        pages.append(tags)
        offset = tags.next
    stream.seek(0)
    if not pages or not {256, 257} <= set(pages[0]):
        raise UnsupportedImageError("a TIFF without an image")
    return pages


def interpret(values: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Return color channels and alpha (h, w, C), as uint16 or as float64 in [0, 1], from the samples of a page.

    C is the number of colors (1 gray, 3 RGB, 4 CMYK), plus 1 with alpha. 0 is black, or no ink. The range follows from
    the type of the samples, never from their values.

    Args:
        values: (h, w, samples), unsigned integers or floats.
        page: The page.

    Raises:
        UnsupportedImageError: If the color space is not read, or floats are outside of [0, 1].
    """
    colors = _COLORS.get(page.photometric)
    if colors is None or values.shape[2] < colors:
        kind = TiffTags.lookup(262).enum
        name = next((k for k, v in kind.items() if v == page.photometric), str(page.photometric))
        raise UnsupportedImageError(f"has {page.bits} bits per sample of the kind {name}; save it as RGB")
    if page.is_float:
        values = check_unit_range(values)
    elif page.bits not in (8, 16):
        values = scale_to_unit(values, page.bits)
    else:
        values = values.astype(f"=u{page.bits // 8}", copy=False)  # in the byte order of this machine
    color = values[:, :, :colors]
    peak = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    color = peak - color if page.photometric == 0 else color
    extra = page.extra or ((_UNASSOCIATED,) if (colors, page.samples) == (3, 4) else ())
    position = next((i for i, kind in enumerate(extra) if kind in (_ASSOCIATED, _UNASSOCIATED)), None)
    if position is None:
        return color
    alpha = values[:, :, colors + position, None]
    if extra[position] == _ASSOCIATED:
        color = _divide_by_alpha(color, alpha, peak)
    return np.concatenate([color, alpha], axis=2)


def _divide_by_alpha(color: NDArray[Any], alpha: NDArray[Any], peak: int) -> NDArray[Any]:
    """Return the colors (h, w, C) that were multiplied by alpha (h, w, 1) / peak, in their dtype."""
    divided = np.divide(color * float(peak), alpha, out=np.zeros(color.shape), where=alpha > 0).clip(0, peak)
    return divided if color.dtype.kind == "f" else divided.round().astype(color.dtype)


def read_samples(stream: IO[bytes], page: TiffPage) -> NDArray[Any]:
    """Return the samples (h, w, samples) of a page that Pillow cannot read, unsigned integers or floats.

    Raises:
        UnsupportedImageError: If a package is missing, or the image has more than two dimensions.
        ValueError: If the file is truncated or corrupt.
    """
    try:
        import tifffile
    except ImportError:
        raise UnsupportedImageError(f"a TIFF of {page.samples} samples of {page.bits} bits: {_NEEDS_EXTRA}") from None
    stream.seek(0)
    with tifffile.TiffFile(stream) as tiff:
        stored: Any = tiff.pages[page.number]
        size = stream.seek(0, os.SEEK_END)
        if any(at + n > size for at, n in zip(stored.dataoffsets, stored.databytecounts, strict=True)):
            raise ValueError("the file ends before its pixels do")
        try:
            values = np.asarray(stored.asarray())
        except Exception as error:  # the codecs of imagecodecs have exception types of their own
            if "imagecodecs" in str(error):
                message = f"a TIFF of {page.bits} bits with the compression {stored.compression.name}: {_NEEDS_EXTRA}"
                raise UnsupportedImageError(message) from None
            raise ValueError(str(error)) from error
        axes = stored.axes
    if axes == "SYX":
        values, axes = np.moveaxis(values, 0, 2), "YXS"
    if axes not in ("YX", "YXS"):
        raise UnsupportedImageError(f"a TIFF with the axes {axes}; save it as a plain image")
    return np.atleast_3d(values)


def write_tiff16(image: NDArray[np.uint16], out: IO[bytes], icc: bytes | None) -> None:
    """Encode a TIFF file with 16 bits per channel.

    Args:
        image: (H, W, C) uint16, with C from 1 to 4: gray, gray with alpha, RGB or RGBA.
        out: A binary file that is open for writing.
        icc: ICC color profile.

    Raises:
        ValueError: If tifffile is not installed.
    """
    try:
        import tifffile
    except ImportError:
        raise ValueError(f"16-bit TIFF needs tifffile: {_NEEDS_EXTRA}, or write .png") from None
    photometric = "rgb" if image.shape[2] > 2 else "minisblack"
    extra = ["unassalpha"] if image.shape[2] in (2, 4) else None
    content = image[:, :, 0] if image.shape[2] == 1 else image
    tifffile.imwrite(
        out, content, photometric=photometric, extrasamples=extra, planarconfig="contig", iccprofile=icc, metadata=None
    )
