"""Scores that show what a GAN is for, beside PSNR and SSIM, and the limits within which they mean something.

Distortion and perception are at odds (Blau and Michaeli 2018): an image that is closer to the original on average is
blurred. NIQE, gradient energy and grid ratio show what the blur costs and what a GAN gains.
"""

from srgan_dist.evaluation.metrics import Scores
from srgan_dist.evaluation.niqe import niqe
from srgan_dist.evaluation.texture import gradient_energy, grid_ratio
from srgan_dist.imaging.images import Pixels

COLUMNS = ("gradient_energy", "grid_ratio", "niqe")
TRADE_OFF = (
    "PSNR and SSIM rate closeness to the original, which favors blur; NIQE (lower) and gradient energy (1 is the "
    "original's detail) rate how natural an image looks, and a GAN gives up some of the former for the latter. "
    "A grid ratio well above the original's is a visible pattern."
)
_PUBLISHED_MIN_BLOCKS = 4
"""The means that are published for Set5 and Set14 count images of four blocks."""
_GRID, _NOISE, _COLOR, _NIQE = 0.75, 1.3, 4.0, 1.0
"""How far a plausible result may be from the original: in grid ratio above it, in gradient energy relative to it, in
levels of 255 of the mean color, and in NIQE below it."""


def naturalness(sr: Pixels, hr: Pixels, scale: int, min_blocks: int = _PUBLISHED_MIN_BLOCKS) -> Scores:
    """Return gradient energy, grid ratio and NIQE of a result, without `scale` pixels at each side.

    Args:
        sr: (H, W, 3) uint8 RGB.
        hr: the original, same size.
        min_blocks: see `niqe`.

    Returns:
        By column; without those that the image is too small or too flat for.
    """
    found = (gradient_energy(sr, hr, scale), grid_ratio(sr, scale, scale), niqe(sr, scale, min_blocks))
    return {name: value for name, value in zip(COLUMNS, found, strict=True) if value is not None}


def original_naturalness(hr: Pixels, scale: int, min_blocks: int = _PUBLISHED_MIN_BLOCKS) -> Scores:
    """Return gradient energy (1), grid ratio and NIQE of the original itself; see `naturalness`."""
    return naturalness(hr, hr, scale, min_blocks)


def color_difference(sr: Pixels, hr: Pixels) -> float:
    """Return how far the mean color of a result is from the original's: the mean over R, G and B, in levels of 255."""
    return float(abs(sr.mean(axis=(0, 1)) - hr.mean(axis=(0, 1))).mean())


def implausible(scores: Scores, original: Scores) -> list[tuple[str, str]]:
    """Return what shows that a better NIQE is not a better image: (name, explanation) of each limit that is passed.

    Args:
        scores: mean scores of the results; may have `color_drift` (see `color_difference`).
        original: mean scores of the originals.
    """
    found: list[tuple[str, str]] = []
    grid, grid_of_hr = scores.get("grid_ratio", 1.0), original.get("grid_ratio", 1.0)
    if grid > grid_of_hr + _GRID:
        found.append(("grid", f"the image repeats a pattern: grid ratio {grid:.2f}, HR has {grid_of_hr:.2f}"))
    if (energy := scores.get("gradient_energy", 1.0)) > _NOISE:
        found.append(("noise", f"more detail than HR: gradient energy {energy:.2f} of HR's; noise or oversharpening"))
    if (color := scores.get("color_drift", 0.0)) > _COLOR:
        found.append(("color drift", f"the mean color is {color:.1f} of 255 levels from HR's"))
    if "niqe" in scores and "niqe" in original and scores["niqe"] < original["niqe"] - _NIQE:
        found.append(("NIQE below HR", f"NIQE {scores['niqe']:.2f} is far below HR's {original['niqe']:.2f}"))
    return found
