"""The area around a crop that a degradation sees: the crop and a margin, whose position is drawn for every crop.

A degradation has traces of the border of the image that it is given: blocks of JPEG start there, and blurs mirror it.
The authors of Real-ESRGAN therefore degrade a larger crop, and cut the training crop from it at a random position.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.loading.crop_plan import Crops
from srgan_dist.data.rng import Indices, hashed
from srgan_dist.imaging.images import Pixels

_STREAM = 3  # apart from the streams of `crop_plan`

Ints = NDArray[np.int64]


class Areas(NamedTuple):
    """The areas of a batch's crops; arrays of shape (B,) or (B, 2). Without a margin they are the crops themselves."""

    y: Ints
    """Top edge in LR pixels; negative where the image is smaller than the area."""
    x: Ints
    """Left edge in LR pixels; negative where the image is smaller than the area."""
    mirrored: NDArray[np.bool_]
    """Whether the area extends beyond the image, which is mirrored there."""
    offset: Ints
    """Top and left edge of the crop within its area, in LR pixels, after the orientation was applied; (B, 2)."""


def areas(crops: Crops, sizes: Ints, lr_crop: int, margin: int, seed: int, indices: Indices) -> Areas:
    """Draw the areas of these crops: pure functions of (seed, index).

    An area lies inside its image if the image is large enough. Otherwise it contains all of the image along that axis.

    Args:
        sizes: heights and widths of all LR images, (N, 2).
        lr_crop: side of a crop in LR pixels.
        margin: by how much the side of an area exceeds that of the crop, in LR pixels.
        indices: numbers of the crops, uint64 (B,).
    """
    if not margin:
        offset = np.zeros((len(indices), 2), np.int64)
        return Areas(crops.y, crops.x, np.zeros(len(indices), np.bool_), offset)
    random, size = hashed(seed & 0xFFFFFFFFFFFFFFFF, _STREAM, indices), sizes[crops.image]
    halves = random >> np.uint64(32), random & np.uint64(0xFFFFFFFF)
    dy, dx = (
        _offset(edge, size[:, k], lr_crop, margin, half)
        for k, (edge, half) in enumerate(zip((crops.y, crops.x), halves, strict=True))
    )
    mirrored = size.min(axis=1) < lr_crop + margin
    return Areas(crops.y - dy, crops.x - dx, mirrored, _oriented(dy, dx, crops.orientation, margin))


def mirrored_cut(image: Pixels, y: int, x: int, side: int) -> Pixels:
    """Cut the square at (y, x) from an image (H, W, 3), which continues beyond its edges as its own mirror image."""
    rows, columns = (_mirrored(start + np.arange(side), n) for start, n in zip((y, x), image.shape[:2], strict=True))
    return image[rows[:, None], columns]


def _offset(edge: Ints, size: Ints, lr_crop: int, margin: int, random: Indices) -> Ints:
    """Draw the crop's offset in its area along one axis: uniform among those that keep the area inside the image."""
    start, end = edge, edge + lr_crop + margin - size  # offsets of areas at the first and at the last pixel
    low, high = np.maximum(0, np.minimum(start, end)), np.minimum(margin, np.maximum(start, end))
    choices = (high - low + 1).astype(np.uint64)
    return low + ((random * choices) >> np.uint64(32)).astype(np.int64)


def _oriented(dy: Ints, dx: Ints, orientation: NDArray[np.uint8], margin: int) -> Ints:
    """Return the offsets, (B, 2), after the orientations of `crop_plan.Crops` were applied to the areas."""
    dx = np.where(orientation & 1, margin - dx, dx)
    dy = np.where(orientation & 2, margin - dy, dy)
    transposed = (orientation & 4).astype(np.bool_)
    return np.stack([np.where(transposed, dx, dy), np.where(transposed, dy, dx)], axis=1)


def _mirrored(positions: Ints, n: int) -> Ints:
    """Map positions into [0, n) by reflection about the first and the last pixel."""
    if n == 1:
        return np.zeros_like(positions)
    within = positions % (2 * n - 2)
    return np.minimum(within, 2 * n - 2 - within)
