"""Image quality by the standard evaluation protocol of super-resolution papers.

SR is clamped and rounded to uint8, converted to BT.601 luma (not rounded), and compared with HR without a border of
`scale` pixels. Scores are computed per image and averaged over images. The column name encodes the protocol:
`psnr_y_crop4` is the PSNR of luma at x4.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from srgan_dist.imaging.images import Pixels


class Quality(NamedTuple):
    """Similarity of an image to the original."""

    psnr_y: float
    """PSNR of luma in dB; infinite for equal images."""
    ssim_y: float
    """SSIM of luma, at most 1."""


Scores = dict[str, float]
"""Scores of an image, or means, by column: always `psnr_y` and `ssim_y`, and others on request."""


def protocol(column: str, scale: int) -> str:
    """Return a column's protocol: its name with the border in pixels, or with the library that computes it."""
    ours = ("psnr_y", "ssim_y", "psnr_rgb", "gradient_energy", "grid_ratio", "niqe")
    return f"{column}_crop{scale}" if column in ours else f"{column}_pyiqa"


def scores(sr: Pixels, hr: Pixels, border: int) -> Scores:
    """Return PSNR and SSIM of luma, and PSNR over R, G and B, of two (H, W, 3) uint8 RGB images.

    Args:
        sr: The image to evaluate.
        hr: The original.
        border: Pixels to remove on each side.

    Raises:
        ValueError: See `quality`.
    """
    luminance = quality(sr, hr, border)
    inside = slice(border, -border or None)
    result, original = (image[inside, inside].astype(np.float64) for image in (sr, hr))
    return {"psnr_y": luminance.psnr_y, "ssim_y": luminance.ssim_y, "psnr_rgb": psnr(result, original)}


def quality(sr: Pixels, hr: Pixels, border: int) -> Quality:
    """Return PSNR and SSIM of luma of two (H, W, 3) uint8 RGB images, without `border` pixels on each side.

    Raises:
        ValueError: If the sizes differ, or the images are too small for the border and SSIM's window.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"images of different sizes cannot be compared: {sr.shape[:2]} and {hr.shape[:2]}")
    if min(hr.shape[:2]) < 2 * border + 11:
        raise ValueError(
            f"{hr.shape[1]}x{hr.shape[0]} is too small: SSIM needs 11 pixels per side inside a border of {border}"
        )
    inside = slice(border, -border or None)
    result, original = luma(sr)[inside, inside], luma(hr)[inside, inside]
    return Quality(psnr(result, original), ssim(result, original))


def luma(rgb: Pixels) -> NDArray[np.float64]:
    """Return the BT.601 luma of an (H, W, 3) uint8 RGB image as (H, W) float64 in [16, 235].

    It is not rounded, like the result of MATLAB's rgb2ycbcr for doubles.
    """
    return rgb.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def psnr(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the peak signal-to-noise ratio in dB of two arrays of values in [0, 255]; infinite if they are equal."""
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the structural similarity (Wang et al. 2004) of two (H, W) planes of values in [0, 255].

    The window is an 11x11 Gaussian with sigma 1.5, applied to the valid region only; K1 is 0.01, K2 is 0.03, and the
    covariance is that of the population. The SRGAN paper uses daala's SSIM instead, which gives higher values.
    """
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    mx, my, xx, yy, xy = _blur(torch.stack([x, y, x * x, y * y, x * y]))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    denominator = (mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2)
    return float((numerator / denominator).numpy().mean())  # numpy's sum does not depend on the number of threads


def _blur(planes: Tensor) -> Tensor:
    offsets = torch.arange(11, dtype=planes.dtype) - 5
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    rows = F.conv2d(planes[:, None], window.view(1, 1, 11, 1))
    return F.conv2d(rows, window.view(1, 1, 1, 11))[:, 0]
