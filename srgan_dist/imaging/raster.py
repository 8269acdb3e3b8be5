"""Decoded pixels at the depth of their file, and their conversion to 8 and 16 bits."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROWS = 64
"""Rows that are composited at a time."""


class UnsupportedImageError(Exception):
    """The file is valid, but it cannot be read correctly. The message says why, without the file's name."""


class Raster(NamedTuple):
    """The pixels of an image."""

    pixels: NDArray[Any]
    """(h, w, C) with C = 1 for gray or 3 for RGB: uint8, uint16, or float64 in [0, 1]."""
    alpha: NDArray[Any] | None = None
    """(h, w), of the same dtype as `pixels`; None without transparency."""


def split_alpha(channels: NDArray[Any]) -> Raster:
    """Return the raster of (h, w, C) with C = 1 gray, 2 gray with alpha, 3 RGB or 4 RGBA."""
    pixels = channels[:, :, : 1 if channels.shape[2] < 3 else 3]
    return Raster(pixels, channels[:, :, -1] if channels.shape[2] in (2, 4) else None)


def scale_to_unit(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return unsigned integers of a number of bits, whose range their type gives, as float64 in [0, 1]."""
    return values.astype(np.float64) / (2**bits - 1)


def check_unit_range(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return floating-point pixels as float64.

    Raises:
        UnsupportedImageError: If values are outside of [0, 1] or not finite. They are never scaled by their content.
    """
    low, high = float(values.min(initial=0)), float(values.max(initial=1))
    if np.isnan(low):
        raise UnsupportedImageError("has pixels that are not a number (NaN)")
    if low < 0 or high > 1:
        raise UnsupportedImageError(
            f"has floating-point values from {low:.4g} to {high:.4g}, but their range is 0 to 1; "
            "save it with 8 or 16 bits"
        )
    return values.astype(np.float64)


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return uint8, uint16, or floats in [0, 1], rounded to uint8."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.floor(values * 255 + 0.5).astype(np.uint8)


def to_uint16(values: NDArray[Any]) -> NDArray[Any]:
    """Return uint8 and uint16 as they are, and floats in [0, 1] rounded to uint16."""
    return values if values.dtype.kind == "u" else np.floor(values * 65535 + 0.5).astype(np.uint16)


def composite_on_white(raster: Raster) -> NDArray[np.uint8]:
    """Return the pixels (h, w, C) of a raster on a white background, rounded to uint8 once; alpha 0 gives white."""
    pixels, alpha = raster
    if alpha is None:
        return to_uint8(pixels)
    peak = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    on_white = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _ROWS):  # floats of the entire image would be eight times larger
        rows = slice(top, top + _ROWS)
        opacity = alpha[rows, :, None] / peak
        on_white[rows] = to_uint8(pixels[rows] / peak * opacity + (1 - opacity))
    return on_white
