"""NIQE, an image quality without a reference: how far an image's statistics lie from those of pristine photographs.

Paper: Mittal, Soundararajan, Bovik, "Making a Completely Blind Image Quality Analyzer", 2013. The authors' model of
pristine photographs is part of the package, so that nothing is downloaded. Do not choose between networks by this
number alone: it rates sharp artifacts above faithful blur, and some networks above the originals.
"""

import math
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.evaluation.metrics import luma
from srgan_dist.imaging.images import Pixels

Plane = NDArray[np.float64]
"""(H, W)."""
Blocks = NDArray[np.float64]
"""(blocks, side, side)."""

BLOCK = 96
"""Side of a block in pixels; the model of pristine photographs was fitted to blocks of this size."""
MIN_BLOCKS = 9
"""With fewer blocks their covariance says little."""
_FLAT = 1e-9
"""Differences from the local mean below this, in levels, are rounding errors in a flat region."""
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Shifts (down, right) to the four neighbors that a pixel is multiplied with: section II-C."""


class _Pristine(NamedTuple):
    """The Gaussian of the features of pristine photographs. Paper: section II-D."""

    mean: NDArray[np.float64]
    """(36,)."""
    covariance: NDArray[np.float64]
    """(36, 36)."""


class _Moments(NamedTuple):
    """A table of generalized Gaussians, to find the shape that fits measured moments; each is (9801,)."""

    shape: NDArray[np.float64]
    """Alpha: 0.2 to 10 in steps of 0.001."""
    ratio: NDArray[np.float64]
    """(E|x|)^2 / E[x^2]; rises with the shape."""
    to_scale: NDArray[np.float64]
    """Beta divided by the standard deviation."""
    to_mean: NDArray[np.float64]
    """The mean (Eq. 8) divided by the right beta less the left one."""


def niqe(image: Pixels, border: int = 0, min_blocks: int = MIN_BLOCKS) -> float | None:
    """Return the NIQE of a (H, W, 3) uint8 RGB image, lower is better; None if there are too few blocks.

    Most photographs have 2 to 6, blurred images more than 7. Luma is rounded and cut into blocks of 96x96 pixels, which
    all count; incomplete blocks at the bottom and at the right do not. Equal to the authors' MATLAB code.
    Paper: Eq. 10.

    Args:
        image: of any size and content.
        border: pixels to remove from each side first. Published values of super-resolution remove none or `scale`.
        min_blocks: number of blocks required; two that are not flat are required in any case. Published means of Set5
            and Set14 count images of four blocks, too.
    """
    inside = slice(border, -border or None)
    y = np.round(luma(image[inside, inside]))
    rows, columns = y.shape[0] // BLOCK, y.shape[1] // BLOCK
    if rows * columns < max(min_blocks, 1):
        return None
    y = y[: rows * BLOCK, : columns * BLOCK]
    features = np.hstack([_features(_blocks(_normalized(plane), rows, columns)) for plane in (y, _half(y))])
    usable = features[~np.isnan(features).any(axis=1)]
    if len(usable) < 2:
        return None
    return _distance(np.nanmean(features, axis=0), np.cov(usable, rowvar=False))


def _normalized(plane: Plane) -> Plane:
    """Remove the local mean and divide by the local deviation. Paper: Eq. 1 to 3."""
    mean = _filter(plane, _gaussian(), "edge")
    deviation = np.sqrt(np.abs(_filter(plane * plane, _gaussian(), "edge") - mean * mean))
    contrast = plane - mean
    contrast[np.abs(contrast) < _FLAT] = 0
    return contrast / (deviation + 1)


def _gaussian() -> NDArray[np.float64]:
    """Return one axis of the paper's 7x7 window."""
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    return window / window.sum()


def _half(plane: Plane) -> Plane:
    """Return MATLAB's `imresize(plane, 0.5)`: bicubic with a = -0.5, antialiased, mirrored at the border."""
    far = np.array([1.75, 1.25])
    near = np.array([0.75, 0.25])
    side = np.concatenate([-0.5 * far**3 + 2.5 * far**2 - 4 * far + 2, 1.5 * near**3 - 2.5 * near**2 + 1])
    kernel = np.concatenate([side, side[::-1]])
    return _filter(plane, kernel / kernel.sum(), "symmetric", step=2)


def _filter(plane: Plane, kernel: NDArray[np.float64], padding: Literal["edge", "symmetric"], step: int = 1) -> Plane:
    """Apply a kernel of 7 values, or of 8 at step 2, along both axes; keep every `step`-th row and column."""
    height, width = plane.shape
    padded, nothing = np.pad(plane, 3, padding), np.zeros(())
    rows = sum((value * padded[i : i + height : step] for i, value in enumerate(kernel)), nothing)
    return sum((value * rows[:, i : i + width : step] for i, value in enumerate(kernel)), nothing)


def _blocks(plane: Plane, rows: int, columns: int) -> Blocks:
    height, width = plane.shape[0] // rows, plane.shape[1] // columns
    return plane.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(-1, height, width)


def _features(blocks: Blocks) -> NDArray[np.float64]:
    """Return (blocks, 18): the features of each block, some of them NaN if it is flat. Paper: section II-C."""
    shape, left, right, _ = _asymmetric_gaussian(blocks)
    found = [shape, (left + right) / 2]
    for shift in _NEIGHBORS:
        shape, left, right, mean = _asymmetric_gaussian(blocks * np.roll(blocks, shift, axis=(1, 2)))
        found += [shape, mean, left, right]
    return np.stack(found, axis=1)


def _asymmetric_gaussian(blocks: Blocks) -> tuple[NDArray[np.float64], ...]:
    """Fit an asymmetric generalized Gaussian to each block; return shape, left beta, right beta, mean: (blocks,) each.

    Paper: Eq. 7 and 8, fitted by moments. A beta is NaN if the block has no values of its sign.
    """
    below, above = np.minimum(blocks, 0), np.maximum(blocks, 0)
    squares_below, squares_above = (np.einsum("bhw,bhw->b", x, x) for x in (below, above))
    size = blocks[0].size
    magnitude = (above.sum(axis=(1, 2)) - below.sum(axis=(1, 2))) / size
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(squares_below / np.count_nonzero(blocks < 0, axis=(1, 2)))
        right = np.sqrt(squares_above / np.count_nonzero(blocks > 0, axis=(1, 2)))
        skew = left / right
        ratio = magnitude**2 / ((squares_below + squares_above) / size)
        ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    at = _nearest(_moments().ratio, ratio)
    left, right = left * _moments().to_scale[at], right * _moments().to_scale[at]
    return _moments().shape[at], left, right, (right - left) * _moments().to_mean[at]


@cache
def _moments() -> _Moments:
    shape = np.arange(200, 10_001) / 1000
    one, two, three = (np.array([math.gamma(n / alpha) for alpha in shape]) for n in (1, 2, 3))
    return _Moments(shape, two**2 / (one * three), np.sqrt(one / three), two / one)


def _nearest(rising: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the index of the element nearest to each value; 0 for NaN, as a search for the least difference does."""
    values = np.nan_to_num(values)  # 0 lies below the first element
    after = np.searchsorted(rising, values).clip(1, len(rising) - 1)
    return after - (values - rising[after - 1] <= rising[after] - values)


def _distance(mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Return the distance of the Gaussian of an image's features to that of pristine photographs. Paper: Eq. 10."""
    pristine = _pristine()
    difference = pristine.mean - mean
    return float(np.sqrt(difference @ np.linalg.pinv((pristine.covariance + covariance) / 2) @ difference))


@cache
def _pristine() -> _Pristine:
    with files("srgan_dist.evaluation").joinpath("niqe_pris_params.npz").open("rb") as file, np.load(file) as model:
        return _Pristine(model["mu_pris_param"][0], model["cov_pris_param"])
