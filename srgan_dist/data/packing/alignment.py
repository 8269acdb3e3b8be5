"""A cheap check that LR shows the same content as HR, neither shifted nor scaled."""

import numpy as np
from numpy.typing import NDArray

from srgan_dist.imaging.images import Pixels

_PATCH = 64
_SHIFT = 0.4
"""Largest valid shift in LR pixels. Aligned pairs stay below 0.1, also blurred or noisy; one HR pixel at x2 is 0.5."""
_SIMILAR = 0.35
"""Correlation above which two patches show the same content; unrelated images stay below 0.25."""
_RELIABLE = 0.5
"""Correlation above which the measured shift of a patch is reliable."""
_DECIMATED = 0.05
"""Largest mean difference of decimated LR from its pixels in HR, as a share of LR's standard deviation."""
_FLAT = 2.0
"""Standard deviation, in levels of 255, below which a patch has no structure to compare."""

Floats = NDArray[np.float32]


def alignment_problem(hr: Pixels, lr: Pixels, scale: int) -> str:
    """Return how LR is misaligned with HR, or an empty string if it is not.

    LR that takes every `scale`-th pixel of HR is aligned. Otherwise five patches of LR are compared with box-downscaled
    HR, by cross-correlation with a parabola through the peak.

    Args:
        hr, lr: (s*h, s*w, 3) and (h, w, 3) uint8 RGB.
    """
    if _is_decimated(hr, lr, scale):
        return ""
    hr_gray, lr_gray = _downscaled_gray(hr, scale), lr.astype(np.float32).mean(axis=2)
    side = min(_PATCH, *lr_gray.shape)
    shifts = [
        _shift(hr_gray[y : y + side, x : x + side], lr_gray[y : y + side, x : x + side])
        for y, x in _corners_and_middle(lr_gray, side)
    ]
    measured = np.array([s for s in shifts if s is not None])
    if not len(measured):
        return ""  # nothing but flat color
    if np.sum(measured[:, 2] > _SIMILAR) * 2 < len(measured):
        return "LR shows different content than HR"
    reliable = measured[measured[:, 2] > _RELIABLE, :2]
    if not len(reliable):
        return ""
    median = np.median(reliable, axis=0)
    if len(reliable) >= 4 and np.median(np.abs(reliable - median).max(axis=1)) > _SHIFT:
        return "LR is scaled differently: its corners do not match those of HR"
    if np.abs(median).max() > _SHIFT:
        x, y = median[1] + 0, median[0] + 0
        return f"LR is shifted by {x:+.1f}, {y:+.1f} LR pixels (x, y), {x * scale:+.1f}, {y * scale:+.1f} HR pixels"
    return ""


def _is_decimated(hr: Pixels, lr: Pixels, scale: int) -> bool:
    """Return whether LR takes one pixel of each scale x scale block of HR, up to small errors as of JPEG.

    Such an LR aliases: high frequencies look like low ones elsewhere, which misleads the correlation.
    """
    tolerance = _DECIMATED * max(_FLAT, float(lr.std()))
    offsets = {(y, x) for y in range(scale) for x in range(scale)}
    return any(np.abs(hr[y::scale, x::scale].astype(np.float32) - lr).mean() < tolerance for y, x in offsets)


def _downscaled_gray(hr: Pixels, scale: int) -> Floats:
    """Return the means of scale x scale pixels and their channels, (h, w)."""
    h, w = hr.shape[0] // scale, hr.shape[1] // scale
    return hr.reshape(h, scale, w, scale, 3).mean(axis=(1, 3, 4), dtype=np.float32)


def _corners_and_middle(image: Floats, side: int) -> set[tuple[int, int]]:
    """Return top left points (y, x) of five patches: the four corners and the middle."""
    bottom, right = image.shape[0] - side, image.shape[1] - side
    return {(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)}


def _shift(a: Floats, b: Floats) -> tuple[float, float, float] | None:
    """Return how far `b` is shifted against `a`, (down, right, correlation after the shift); None for flat patches."""
    if min(a.std(), b.std()) < _FLAT:
        return None
    window, band = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1])), _band(a.shape)
    fa, fb = (np.fft.rfft2((p - p.mean()) * window) * band for p in (a, b))
    correlation = np.fft.irfft2(fb * fa.conj(), a.shape)
    norm = np.sqrt(np.prod([np.fft.irfft2(f * f.conj(), a.shape)[0, 0] for f in (fa, fb)]))
    y, x = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return _refined(correlation[:, x], int(y)), _refined(correlation[y], int(x)), float(correlation[y, x] / norm)


def _band(shape: tuple[int, ...]) -> Floats:
    """Return a weight per frequency: low ones carry little position, the highest are noise and aliasing."""
    f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    return (f * (f < 0.25)).astype(np.float32)


def _refined(line: NDArray[np.float64], peak: int) -> float:
    """Return the apex of the parabola through the peak and its neighbors, as a signed distance from 0."""
    before, at, after = (line[(peak + d) % len(line)] for d in (-1, 0, 1))
    curvature = before - 2 * at + after
    offset = 0.5 * (before - after) / curvature if curvature else 0.0
    return float(peak - len(line) * (peak > len(line) // 2) + offset)
