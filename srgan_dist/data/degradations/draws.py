"""Random parameters of each crop's degradation: pure functions of (seed, index). Real-ESRGAN Sec. 3.1 to 3.3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.rng import Indices, hashed, unit

Floats = NDArray[np.float64]
Range = tuple[float, float]

_FIRST_STREAM = 256  # apart from the streams of `data.loading.crop_plan`
ISO, ANISO, GENERAL_ISO, GENERAL_ANISO, PLATEAU_ISO, PLATEAU_ANISO, SINC, NONE = range(8)
AREA, BILINEAR, BICUBIC = range(3)


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of blur, resize and noise. The defaults are the first stage of the paper."""

    blur_probability: float = 1.0
    """Probability of a blur."""

    sigma: Range = (0.2, 3.0)
    """Range of the blur's standard deviation in pixels."""

    resize: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """Weights of upscaling, downscaling and keeping the size."""

    resize_range: Range = (0.15, 1.5)
    """Smallest and largest new side, relative to the HR side in the first stage and to the LR side in the second."""

    gaussian_sigma: Range = (1.0, 30.0)
    """Range of the standard deviation of Gaussian noise, in levels of 255."""

    poisson_scale: Range = (0.05, 3.0)
    """Range of the factor on Poisson noise, whose counts are as large as the number of levels in the image."""

    noise_probability: float = 1.0
    """Probability of noise; 0 turns it off."""

    jpeg_probability: float = 1.0
    """Probability of the JPEG compression; 0 turns it off."""


@dataclass(frozen=True, kw_only=True)
class BlurConfig:
    """The distribution of blur kernels."""

    sizes: tuple[int, ...] = (7, 9, 11, 13, 15, 17, 19, 21)
    """Sides of a kernel in pixels, equally likely."""

    kinds: tuple[float, float, float, float, float, float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    """Weights of Gaussian, generalized Gaussian and plateau kernels, each isotropic and anisotropic."""

    sinc_probability: float = 0.1
    """Probability of a sinc filter (ringing) instead of these kernels."""

    generalized_beta: Range = (0.5, 4.0)
    """Range of the shape of generalized Gaussians; below 1 with probability 0.5."""

    plateau_beta: Range = (1.0, 2.0)
    """Range of the shape of plateaus; at most 1 with probability 0.5."""


class Blur(NamedTuple):
    """One kernel per crop; arrays of shape (B,)."""

    kind: Any
    """ISO to NONE, see above."""
    size: Any
    """Side in pixels."""
    sigma_x: Any
    """Standard deviation along the first axis, in pixels."""
    sigma_y: Any
    """Standard deviation along the second axis, in pixels."""
    angle: Any
    """Angle of the first axis, in radians."""
    beta: Any
    """Shape of a generalized Gaussian or a plateau."""
    omega: Any
    """Cutoff of a sinc, in radians per pixel."""


class Stage(NamedTuple):
    """One stage per crop; arrays of shape (B,)."""

    blur: Blur
    factor: Any
    """New side, relative to the reference side (see `StageConfig.resize_range`)."""
    mode: Any
    """Filter of the resize: AREA, BILINEAR or BICUBIC."""
    gaussian: Any
    """1 where the noise is Gaussian, 0 where it is Poisson."""
    strength: Any
    """Standard deviation on the scale of [0, 1], or the Poisson scale."""
    gray: Any
    """1 where all channels get the same noise."""
    key1: Any
    """First key of the noise, int32."""
    key2: Any
    """Second key of the noise, int32."""
    quality: Any
    """JPEG quality, 1 to 100, or 0 without JPEG."""


class Draws(NamedTuple):
    """All random parameters of a batch; arrays of shape (B,)."""

    first: Stage
    second: Stage
    last: Blur
    """A sinc, or no blur."""
    last_mode: Any
    """Filter of the final resize."""
    jpeg_last: Any
    """1 where the final resize and sinc come before the second JPEG, 0 where they come after it."""


class CropRng:
    """Random numbers of the crops `indices`, one per crop and call. Every call uses a new stream."""

    def __init__(self, seed: int, indices: Indices) -> None:
        self._seed, self._indices, self._stream = seed, indices, _FIRST_STREAM

    def bits(self) -> Indices:
        """Return 64 random bits per crop, uint64 (B,)."""
        self._stream += 1
        return hashed(self._seed, self._stream, self._indices)

    def uniform(self, low: float | Floats, high: float | Floats) -> Floats:
        """Return uniform numbers in [low, high), (B,)."""
        return low + (high - low) * unit(self.bits())

    def chance(self, probability: float) -> NDArray[np.bool_]:
        """Return True with this probability, bool (B,)."""
        return unit(self.bits()) < probability

    def choice(self, weights: Sequence[float]) -> NDArray[np.int64]:
        """Return integers from 0 to len(weights) - 1 with these relative frequencies, (B,)."""
        cumulative = np.cumsum(weights) / np.sum(weights)
        return np.minimum(np.searchsorted(cumulative, unit(self.bits()), side="right"), len(weights) - 1)


def draw_blur(rng: CropRng, config: BlurConfig, sigma: Range, probability: float) -> Blur:
    """Draw the blur kernels of a stage, with a blur at all with this probability."""
    kind = rng.choice(config.kinds)
    size = np.array(config.sizes)[rng.choice([1.0] * len(config.sizes))]
    sigma_x, sigma_y = rng.uniform(*sigma), rng.uniform(*sigma)
    angle = rng.uniform(-np.pi, np.pi)
    generalized, plateau = (_beta(rng, r) for r in (config.generalized_beta, config.plateau_beta))
    iso = np.isin(kind, (ISO, GENERAL_ISO, PLATEAU_ISO))
    beta = np.select([kind >= PLATEAU_ISO, kind >= GENERAL_ISO], [plateau, generalized], 1.0)
    omega = rng.uniform(np.where(size < 13, np.pi / 3, np.pi / 5), np.pi)
    kind = np.where(rng.chance(config.sinc_probability), SINC, kind)
    kind = np.where(rng.chance(probability), kind, NONE)
    return Blur(kind, size, sigma_x, np.where(iso, sigma_x, sigma_y), np.where(iso, 0.0, angle), beta, omega)


def _beta(rng: CropRng, span: Range) -> Floats:
    """Draw between the lower end and 1 with probability 0.5, else between 1 and the upper end (the authors' code)."""
    return np.where(rng.chance(0.5), rng.uniform(span[0], 1.0), rng.uniform(1.0, span[1]))


def draw_last_blur(rng: CropRng, config: BlurConfig, probability: float) -> Blur:
    """Draw the final sinc, or none; its cutoff is at least pi/3 for every size."""
    size = np.array(config.sizes)[rng.choice([1.0] * len(config.sizes))]
    omega = rng.uniform(np.pi / 3, np.pi)
    one = np.ones(len(size))
    return Blur(np.where(rng.chance(probability), SINC, NONE), size, one, one, one * 0, one, omega)


def draw_stage(
    rng: CropRng,
    config: StageConfig,
    blur: BlurConfig,
    gaussian: float,
    gray: float,
    jpeg: tuple[int, int],
    modes: Sequence[float],
) -> Stage:
    """Draw the parameters of a stage, with noise and JPEG; see `with_probabilities`.

    Args:
        gaussian: probability of Gaussian noise.
        gray: probability of the same noise in all channels.
        jpeg: lowest and highest quality, inclusive.
        modes: weights of AREA, BILINEAR and BICUBIC.
    """
    kernels = draw_blur(rng, blur, config.sigma, config.blur_probability)
    direction = rng.choice(config.resize)
    factor = np.select(
        [direction == 0, direction == 1],
        [rng.uniform(1.0, config.resize_range[1]), rng.uniform(config.resize_range[0], 1.0)],
        1.0,
    )
    mode = rng.choice(modes)
    is_gaussian = rng.chance(gaussian)
    sigma, scale = rng.uniform(*config.gaussian_sigma), rng.uniform(*config.poisson_scale)
    strength = np.where(is_gaussian, sigma / 255, scale)
    key = rng.bits()
    key1, key2 = (part.astype(np.uint32).view(np.int32) for part in (key >> np.uint64(32), key & np.uint64(0xFFFFFFFF)))
    quality = np.floor(rng.uniform(jpeg[0], jpeg[1] + 1))
    return Stage(kernels, factor, mode, is_gaussian, strength, rng.chance(gray), key1, key2, quality)


def with_probabilities(rng: CropRng, config: StageConfig, stage: Stage) -> Stage:
    """Return the stage without noise and without JPEG where its probabilities say so.

    Called after everything else was drawn, so that these probabilities change no other number.
    """
    noisy, compressed = rng.chance(config.noise_probability), rng.chance(config.jpeg_probability)
    return stage._replace(strength=stage.strength * noisy, quality=stage.quality * compressed)
