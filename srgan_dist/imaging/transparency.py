"""Transparency in upscaling: the colors of hidden pixels, and the alpha channel itself."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AlphaMethod = Literal["bicubic", "model"]

_BLOCK, _REACH = 1024, 64
"""Side of the blocks that are filled one by one, and how far around a block its colors may come from."""
_RINGS = 2
"""Rings of hidden pixels that are filled at each resolution before the next, halved one."""


def spread_colors(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return an image whose hidden pixels, those with alpha 0, continue the colors of the visible ones near them.

    Hidden pixels are mostly black. A network would mix them into the visible rim.

    Args:
        pixels: (h, w, C) uint8 or uint16.
        alpha: (h, w), of the same dtype.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    spread = pixels.copy()
    spread[hidden] = pixels[~hidden].mean(axis=0).round()  # for those too far away to matter
    height, width = hidden.shape
    for y in range(0, height, _BLOCK):
        for x in range(0, width, _BLOCK):
            block = slice(y, y + _BLOCK), slice(x, x + _BLOCK)
            # The block with its surroundings, where the nearest visible pixels may be.
            top, left = max(0, y - _REACH), max(0, x - _REACH)
            around = slice(top, y + _BLOCK + _REACH), slice(left, x + _BLOCK + _REACH)
            if hidden[block].any() and not hidden[around].all():
                colors = _spread(pixels[around], alpha[around])[y - top :, x - left :][:_BLOCK, :_BLOCK]
                np.copyto(spread[block], colors, where=hidden[block][:, :, None])
    return spread


def _spread(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return colors (h, w, C) for all pixels, from the visible ones."""
    weights = alpha[:, :, None].astype(np.float32) / np.iinfo(alpha.dtype).max
    # The weighted colors and their weight, in one array: (h, w, C + 1).
    sums = _fill(np.concatenate([pixels * weights, weights], axis=2, dtype=np.float32))
    return (sums[:, :, :-1] / sums[:, :, -1:]).round().clip(0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def _fill(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give every pixel a weight: from its neighbors, and farther away from the image at half the resolution."""
    for _ in range(_RINGS):
        empty = sums[:, :, -1:] == 0
        if not empty.any():
            return sums
        sums = np.where(empty, _mean_of_neighbors(sums), sums)
    empty = sums[:, :, -1:] == 0
    if not empty.any():
        return sums
    height, width = sums.shape[:2]
    even = np.pad(sums, ((0, height % 2), (0, width % 2), (0, 0)))
    halved: NDArray[np.float32] = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * np.float32(
        0.25
    )
    doubled = _fill(halved).repeat(2, axis=0).repeat(2, axis=1)
    return np.where(empty, doubled[:height, :width], sums)


def _mean_of_neighbors(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weighted mean color of the 3x3 pixels around each pixel, with weight 1; 0 where all are empty."""
    padded = np.pad(sums, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    weights: NDArray[np.float32] = np.maximum(total[:, :, -1:], np.float32(np.finfo(np.float32).tiny))
    return total / weights


def upscale_alpha(alpha: NDArray[Any], scale: int) -> NDArray[Any]:
    """Return an alpha channel (h, w), uint8 or uint16, upscaled to (scale*h, scale*w) with bicubic interpolation."""
    size = alpha.shape[1] * scale, alpha.shape[0] * scale
    if alpha.dtype == np.uint8:
        return np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
    floats = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(floats).clip(0, 65535).round().astype(np.uint16)
