"""MATLAB's imresize(image, 1 / scale) for uint8, written out pixel by pixel: what `downscale` is held to.

It reproduces the LR files of Set5 (edge rule "clamp") and DIV2K ("mirror") in every value.
"""

import math

import numpy as np

from srgan_dist.imaging.images import Pixels


def imresize(image: Pixels, scale: int, edge: str = "mirror") -> Pixels:
    """Downscale (H, W, 3), first along the rows, then along the columns; each pass is rounded to uint8."""
    rows = along_rows(image, scale, edge)
    return along_rows(rows.transpose(1, 0, 2), scale, edge).transpose(1, 0, 2)


def along_rows(image: Pixels, scale: int, edge: str) -> Pixels:
    count = image.shape[0]
    out = np.empty((count // scale, *image.shape[1:]), np.uint8)
    for row in range(len(out)):
        center = (row + 1) * scale + 0.5 * (1 - scale)  # MATLAB counts from 1
        left = math.floor(center - 2 * scale)
        indices = [left + k for k in range(4 * scale + 2)]
        weights = np.array([cubic((center - i) / scale) for i in indices])
        weights /= weights.sum()
        value = sum(w * image[inside(i - 1, count, edge)].astype(float) for w, i in zip(weights, indices, strict=True))
        out[row] = np.floor(np.clip(value, 0, 255) + 0.5).astype(np.uint8)
    return out


def cubic(x: float) -> float:
    """Keys's kernel with a = -0.5, as MATLAB's `cubic`."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def inside(index: int, count: int, edge: str) -> int:
    if edge == "clamp":
        return min(max(index, 0), count - 1)
    index %= 2 * count
    return index if index < count else 2 * count - 1 - index
