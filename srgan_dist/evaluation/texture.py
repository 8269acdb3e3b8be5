"""Amount of detail and regular patterns: two numbers that show what PSNR and perceptual metrics miss.

Not in a paper: PSNR rewards blur, and NIQE can rate an image with a grid above a clean one.
"""

import numpy as np
from numpy.typing import NDArray

from srgan_dist.evaluation.metrics import luma
from srgan_dist.imaging.images import Pixels

Plane = NDArray[np.float64]
"""(H, W)."""

_PERIODS = 8
"""Periods of the pattern per window of the spectrum."""
_LEVEL = 1.0
"""Windows whose differences have less energy than this, in squared levels, count less: a grid there is rounding."""
_ROUNDING = 0.055
"""Energy that rounding R, G and B to integers adds to differences of luma, in squared levels."""


def gradient_energy(sr: Pixels, hr: Pixels, border: int = 0) -> float | None:
    """Return the mean squared gradient of luma of `sr` divided by that of `hr`; None if `hr` is flat.

    1 is as much detail as the original has; less is blur, more is noise or oversharpening.

    Args:
        sr: (H, W, 3) uint8 RGB.
        hr: same size.
        border: pixels to remove from each side first.

    Raises:
        ValueError: the sizes differ.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"images of different size cannot be compared: {sr.shape[:2]} and {hr.shape[:2]}")
    ours, original = (_energy(_inside(image, border)) for image in (sr, hr))
    return ours / original if original > 0 else None


def grid_ratio(image: Pixels, scale: int, border: int = 0) -> float | None:
    """Return how much an image repeats itself with the period `scale`; None if it is flat or too small.

    About 1 for photographs, 1.2 for bicubic interpolation, `scale` for nearest neighbor, 3 and more for visible grids.
    It is the larger of two ratios, over rows and columns: how much stronger differences between neighboring pixels are
    at one position within the period than on average (pixels that are repeated), and how much stronger the frequencies
    k / scale are than those beside them (a pattern that is added).

    Args:
        image: (H, W, 3) uint8 RGB, of more than 8 * scale pixels inside the border in height and width.
        scale: of the network, at least 2; an upscaling network's artifacts have this period.
        border: pixels to remove from each side first.
    """
    y = _inside(image, border)
    if min(y.shape) <= _PERIODS * scale:
        return None
    axes = [d[:, : d.shape[1] // scale * scale] for d in (np.diff(y), np.diff(y.T))]  # complete periods
    axes = [d for d in axes if d.any()]
    return max((ratio(d, scale) for d in axes for ratio in (_position_ratio, _frequency_ratio)), default=None)


def _inside(image: Pixels, border: int) -> Plane:
    inside = slice(border, -border or None)
    return luma(image[inside, inside])


def _energy(y: Plane) -> float:
    """Return the mean squared difference of neighbors, rows plus columns; 0 for less than 2x2 pixels."""
    return float(sum(np.mean(d * d) for d in (np.diff(y), np.diff(y.T)))) if min(y.shape) > 1 else 0.0


def _position_ratio(differences: Plane, scale: int) -> float:
    """Return the mean magnitude at the strongest position within the period, divided by that at all: 1 to `scale`."""
    by_position = np.abs(differences).mean(axis=0).reshape(-1, scale).mean(axis=0)
    return float(by_position.max() / by_position.mean())


def _frequency_ratio(differences: Plane, scale: int) -> float:
    """Return the amplitude at the strongest frequency k / scale, divided by that two bins below and above it.

    Windows of each row are divided by their energy, so that smooth regions, where a grid shows, count as much as edges.
    """
    size = _PERIODS * scale
    windows = np.lib.stride_tricks.sliding_window_view(differences, size, axis=1)[:, :: size // 2].reshape(-1, size)
    windows = windows - windows.mean(axis=1, keepdims=True)
    taper = np.hanning(size + 1)[:size]
    spectrum = np.abs(np.fft.rfft(windows * (taper / np.linalg.norm(taper)), axis=1)) ** 2 + _ROUNDING
    power = (spectrum / (np.mean(windows**2, axis=1, keepdims=True) + _LEVEL)).mean(axis=0)
    power = np.append(power, power[-2:-4:-1])  # beyond the highest frequency an even window's spectrum is mirrored
    lines = np.arange(_PERIODS, size // 2 + 1, _PERIODS)
    return float(np.sqrt(np.max(2 * power[lines] / (power[lines - 2] + power[lines + 2]))))
