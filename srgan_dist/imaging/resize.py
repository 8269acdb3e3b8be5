"""Resizing of uint8 images: bit-exact MATLAB bicubic downscaling, and the interpolations that models are compared with.

Decision 3 in architecture.md: a model that is evaluated on another bicubic kernel than it was trained on gets
pessimistic scores, so every kernel has a name (`Kernel`), which is recorded with the shards.
"""

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan_dist.imaging.images import Pixels

Kernel = Literal["matlab-mirror", "matlab-clamp", "pillow", "torch"]
"""An implementation of bicubic downscaling; see `downscale`."""
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
"""A method of interpolation; see `interpolate`."""
_ROWS = 64
"""Rows of a result that `imresize` computes at a time."""
ALL_INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic")
"""The interpolations that every generator is compared with by default."""


def downscale(hr: Pixels, scale: int, kernel: Kernel = "matlab-mirror") -> Pixels:
    """Downscale an image by an integer factor with antialiased bicubic interpolation.

    Args:
        hr: (H, W, 3) uint8 RGB, with H and W multiples of `scale`.
        scale: Downscaling factor.
        kernel: `matlab-mirror` is the imresize of current MATLAB versions, which made DIV2K's LR images. `matlab-clamp`
            is the imresize that made the LR images of Set5, Set14 and BSD100. Both reproduce every value of those
            files. `pillow` and `torch` are the antialiased bicubic of those libraries, of which some values differ
            from MATLAB's by one level.

    Returns:
        lr, (H/scale, W/scale, 3) uint8 RGB.

    Raises:
        ValueError: If H or W is not a multiple of `scale`.
    """
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"the size {width}x{height} is not a multiple of scale={scale}; crop the image first")
    if kernel == "pillow":
        return _bicubic(hr, (width // scale, height // scale))
    if kernel == "torch":
        return _downscale_as_torch(hr, scale)
    return _downscale_as_matlab(hr, scale, mode="symmetric" if kernel == "matlab-mirror" else "edge")


def _downscale_as_matlab(hr: Pixels, scale: int, mode: Literal["symmetric", "edge"]) -> Pixels:
    """Downscale in two passes, height first, both rounded to uint8: with one rounding, 10% of values would differ."""
    margin = 2 * scale  # radius of the antialiased kernel in HR pixels
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    tall = np.pad(hr, ((margin, margin), (0, 0), (0, 0)), mode=mode)
    rows = _bicubic(tall, (width * scale, height + 4))[2:-2]
    wide = np.pad(rows, ((0, 0), (margin, margin), (0, 0)), mode=mode)
    return np.ascontiguousarray(_bicubic(wide, (width + 4, height))[:, 2:-2])


def _bicubic(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize to (width, height) with Pillow's antialiased bicubic (a = -0.5), which skips axes of unchanged length."""
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _downscale_as_torch(hr: Pixels, scale: int) -> Pixels:
    import torch  # imported here because it loads slowly and packing needs it for nothing else

    chw = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None].float()
    size = (hr.shape[0] // scale, hr.shape[1] // scale)
    lr = torch.nn.functional.interpolate(chw, size=size, mode="bicubic", antialias=True)
    return lr.round().clamp(0, 255).byte()[0].permute(1, 2, 0).contiguous().numpy()


def interpolate(lr: Pixels, scale: int, method: Interpolation) -> Pixels:
    """Upscale (h, w, 3) uint8 RGB to (scale*h, scale*w, 3) with the Pillow filter of that name."""
    size = (lr.shape[1] * scale, lr.shape[0] * scale)
    return np.asarray(Image.fromarray(lr).resize(size, Image.Resampling[method.upper()]))


def resized_side(side: int, factor: float) -> int:
    """Return MATLAB's number of pixels after resizing: ceil(factor * side), whatever floating-point error it has."""
    return max(1, math.ceil(factor * side - 1e-6))


def imresize(image: NDArray[Any], factor: float, edge: Literal["mirror", "wrap"] = "mirror") -> NDArray[Any]:
    """Resize an image by any factor as MATLAB's `imresize(image, factor)`: bicubic, antialiased where it shrinks.

    Equal to `downscale` with `matlab-mirror` in every value. Not in place of `interpolate`, whose filters are Pillow's:
    this one takes 16 bits and factors that are not integers.

    Args:
        image: (H, W, C) uint8 or uint16.
        factor: Of both sides; the result's are `resized_side`.
        edge: How the image continues outside; wrap is for textures that repeat, which MATLAB does not know.

    Returns:
        The result in the same dtype. It is rounded after each of its two passes, height first.
    """
    for axis in (0, 1):
        image = _resize_axis(image, axis, factor, edge)
    return image


def _resize_axis(image: NDArray[Any], axis: int, factor: float, edge: str) -> NDArray[Any]:
    if factor == 1:
        return image
    length = image.shape[axis]
    side = resized_side(length, factor)
    indices, weights = _contributions(length, factor, side, edge)
    source, peak = np.moveaxis(image, axis, 0), np.iinfo(image.dtype).max
    out = np.empty((side, *source.shape[1:]), image.dtype)
    for start in range(0, side, _ROWS):  # in strips, because the sum is in float64
        rows = slice(start, start + _ROWS)
        total = np.zeros((len(indices[rows]), *source.shape[1:]))
        for index, weight in zip(indices[rows].T, weights[rows].T, strict=True):
            total += weight.reshape(-1, *[1] * (source.ndim - 1)) * source[index]
        out[rows] = np.floor(total.clip(0, peak) + 0.5)
    return np.moveaxis(out, 0, axis)


def _contributions(length: int, factor: float, side: int, edge: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which pixels each pixel of the result is a sum of, and their weights; both (side, taps)."""
    shrink = min(1.0, factor)  # widens the kernel, which removes what the smaller image cannot show
    radius = 2 / shrink
    center = (np.arange(side) + 0.5) / factor - 0.5
    first = np.floor(center - radius).astype(np.intp) + 1
    indices = first[:, None] + np.arange(math.ceil(2 * radius) + 1)
    x = np.abs(center[:, None] - indices) * shrink
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
    weights /= weights.sum(axis=1, keepdims=True)
    if edge == "wrap":
        return indices % length, weights
    indices %= 2 * length
    return np.minimum(indices, 2 * length - 1 - indices), weights


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """Return a view of the largest top left part of an image (H, W, 3) whose sides are multiples of `scale`."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]
