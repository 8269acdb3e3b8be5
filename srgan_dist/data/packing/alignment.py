"""Whether an LR image shows what its HR shows, at the same place: a cheap check of pairs."""

import numpy as np
from numpy.typing import NDArray

from srgan_dist.imaging.images import Pixels

_PATCH = 64
_SHIFT = 0.4
"""LR pixels. Honest bicubic, blurred and noisy pairs stay below 0.1; one HR pixel at x2 is 0.5."""
_ALIKE = 0.35
"""Correlation of the structure below which a patch shows something else; other images stay below 0.25."""
_SURE = 0.5
"""And above which its place is to be relied on."""
_FLAT = 2.0

Floats = NDArray[np.float32]


def misplaced(hr: Pixels, lr: Pixels, scale: int) -> str:
    """What is wrong with the pair's geometry, or nothing.

    Compares five patches of LR with HR averaged down, by cross-correlation with a parabola through the peak.
    """
    small, given = _reduced(hr, scale), lr.astype(np.float32).mean(axis=2)
    side = min(_PATCH, *given.shape)
    found = [
        _shift(small[y : y + side, x : x + side], given[y : y + side, x : x + side]) for y, x in _places(given, side)
    ]
    told = np.array([f for f in found if f is not None])
    if not len(told):
        return ""  # nothing but flat color
    if np.sum(told[:, 2] > _ALIKE) * 2 < len(told):
        return "LR shows something else than HR"
    sure = told[told[:, 2] > _SURE, :2]
    if not len(sure):
        return ""
    middle = np.median(sure, axis=0)
    if len(sure) >= 4 and np.median(np.abs(sure - middle).max(axis=1)) > _SHIFT:
        return "LR is scaled differently, its corners are not where those of HR are"
    if np.abs(middle).max() > _SHIFT:
        return f"LR is shifted by {middle[1] + 0:+.1f}, {middle[0] + 0:+.1f} LR pixels (x, y)"
    return ""


def _reduced(hr: Pixels, scale: int) -> Floats:
    h, w = hr.shape[0] // scale, hr.shape[1] // scale
    return hr.reshape(h, scale, w, scale, 3).mean(axis=(1, 3, 4), dtype=np.float32)


def _places(image: Floats, side: int) -> set[tuple[int, int]]:
    """The four corners and the middle."""
    bottom, right = image.shape[0] - side, image.shape[1] - side
    return {(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)}


def _shift(a: Floats, b: Floats) -> tuple[float, float, float] | None:
    """How far `b` is from `a`, down and right, and how alike they then are; nothing for flat patches."""
    if min(a.std(), b.std()) < _FLAT:
        return None
    window, band = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1])), _band(a.shape)
    fa, fb = (np.fft.rfft2((p - p.mean()) * window) * band for p in (a, b))
    together = np.fft.irfft2(fb * fa.conj(), a.shape)
    norm = np.sqrt(np.prod([np.fft.irfft2(f * f.conj(), a.shape)[0, 0] for f in (fa, fb)]))
    y, x = np.unravel_index(int(together.argmax()), together.shape)
    return _refined(together[:, x], int(y)), _refined(together[y], int(x)), float(together[y, x] / norm)


def _band(shape: tuple[int, ...]) -> Floats:
    """Weights of the frequencies: slow ones say little about the place, the fastest are noise and aliasing."""
    f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    return (f * (f < 0.25)).astype(np.float32)


def _refined(line: NDArray[np.float64], peak: int) -> float:
    """The top of the parabola through the peak and its neighbors, as a signed distance from 0."""
    before, at, after = (line[(peak + d) % len(line)] for d in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = 0.5 * (before - after) / bend if bend else 0.0
    return float(peak - len(line) * (peak > len(line) // 2) + offset)
