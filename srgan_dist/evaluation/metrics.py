"""Image quality by the standard evaluation protocol of super-resolution papers.

SR clamped and rounded to uint8, luma of BT.601 (not rounded), a border of `scale` pixels removed, mean over
images of the per-image values. The name says it all: `psnr_y_crop4` is that at x4.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from srgan_dist.imaging.images import Pixels


class Quality(NamedTuple):
    """How close an image is to the original."""

    psnr_y: float
    """dB; infinite for equal images."""
    ssim_y: float
    """At most 1."""


Scores = dict[str, float]
"""Numbers of one image or means, by column: `psnr_y` and `ssim_y` always, others as wanted."""


def protocol(column: str, scale: int) -> str:
    """The name of a column's protocol, as printed beside every number: what was compared, and what was cut off."""
    return f"{column}_crop{scale}" if column in ("psnr_y", "ssim_y", "psnr_rgb") else f"{column}_pyiqa"


def scores(sr: Pixels, hr: Pixels, border: int) -> Scores:
    """PSNR and SSIM of luma and PSNR over R, G and B, all without the border.

    Raises:
        ValueError: see `quality`.
    """
    luminance = quality(sr, hr, border)
    inside = slice(border, -border or None)
    ours, original = (image[inside, inside].astype(np.float64) for image in (sr, hr))
    return {"psnr_y": luminance.psnr_y, "ssim_y": luminance.ssim_y, "psnr_rgb": psnr(ours, original)}


def quality(sr: Pixels, hr: Pixels, border: int) -> Quality:
    """PSNR and SSIM of luma without the border, of two (H, W, 3) uint8 RGB images.

    Raises:
        ValueError: the sizes differ, or the images are too small for the border and SSIM's window.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"images of different size cannot be compared: {sr.shape[:2]} and {hr.shape[:2]}")
    if min(hr.shape[:2]) < 2 * border + 11:
        raise ValueError(f"{hr.shape[1]}x{hr.shape[0]} is too small: SSIM needs 11 pixels inside a border of {border}")
    inside = slice(border, -border or None)
    ours, original = luma(sr)[inside, inside], luma(hr)[inside, inside]
    return Quality(psnr(ours, original), ssim(ours, original))


def luma(rgb: Pixels) -> NDArray[np.float64]:
    """Y of BT.601, 16 to 235, float64, not rounded, as MATLAB's rgb2ycbcr gives for doubles."""
    return rgb.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def psnr(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio in dB for values of 0 to 255."""
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Structural similarity (Wang et al. 2004) of two (H, W) planes of 0 to 255.

    Gaussian window 11x11, sigma 1.5, valid region only, K 0.01 and 0.03, population covariance. The SRGAN
    paper's SSIM is another one (daala's) and comes out higher.
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
