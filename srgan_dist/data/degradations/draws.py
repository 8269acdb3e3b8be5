"""What each crop's degradation is: parameters as pure functions of (seed, index). Real-ESRGAN Sec. 3.1 to 3.3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan_dist.data.rng import Indices, hashed, unit

Floats = NDArray[np.float64]
Range = tuple[float, float]

_FIRST_STREAM = 256  # far from those of `data.loading.crop_plan`
ISO, ANISO, GENERAL_ISO, GENERAL_ANISO, PLATEAU_ISO, PLATEAU_ANISO, SINC, NONE = range(8)
AREA, BILINEAR, BICUBIC = range(3)


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One pass of blur, resize and noise. The defaults are the first pass of the paper."""

    blur_probability: float = 1.0
    """How often there is a blur at all."""

    sigma: Range = (0.2, 3.0)
    """The blur's standard deviation in pixels."""

    resize: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """How often the image grows, shrinks, and keeps its size."""

    resize_range: Range = (0.15, 1.5)
    """How far it shrinks and grows: in HR sides for the first pass, in LR sides for the second."""

    gaussian_sigma: Range = (1.0, 30.0)
    """Standard deviation of Gaussian noise in levels of 255."""

    poisson_scale: Range = (0.05, 3.0)
    """Strength of Poisson noise; 1 is that of a camera that counts photons in the image's own levels."""


@dataclass(frozen=True, kw_only=True)
class BlurConfig:
    """Which blur kernels there are."""

    sizes: tuple[int, ...] = (7, 9, 11, 13, 15, 17, 19, 21)
    """Sides in pixels, equally likely."""

    kinds: tuple[float, float, float, float, float, float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    """How often: isotropic, anisotropic, generalized isotropic and anisotropic, plateau isotropic and anisotropic."""

    sinc_probability: float = 0.1
    """How often a sinc filter stands in for them: ringing."""

    generalized_beta: Range = (0.5, 4.0)
    """Shape of generalized Gaussians, half of the time below 1."""

    plateau_beta: Range = (1.0, 2.0)
    """Shape of plateaus, half of the time 1."""


class Blur(NamedTuple):
    """A kernel for each crop; arrays of shape (B,)."""

    kind: Any
    size: Any
    """Pixels."""
    sigma_x: Any
    sigma_y: Any
    angle: Any
    """Radians."""
    beta: Any
    omega: Any
    """Cutoff of a sinc, radians."""


class Stage(NamedTuple):
    """One pass for each crop; arrays of shape (B,)."""

    blur: Blur
    factor: Any
    """New side over the side of reference."""
    mode: Any
    gaussian: Any
    """1 where the noise is Gaussian, 0 where it is Poisson."""
    strength: Any
    """Standard deviation in [0, 1], or the Poisson scale."""
    gray: Any
    """1 where all channels get the same noise."""
    key1: Any
    key2: Any
    """Where the noise's own hash starts, int32 each."""
    quality: Any
    """JPEG's, 1 to 100."""


class Draws(NamedTuple):
    """Everything that is drawn for a batch."""

    first: Stage
    second: Stage
    last: Blur
    """A sinc, or nothing."""
    last_mode: Any
    jpeg_last: Any
    """1 where the final resize and sinc come before the second JPEG, 0 where after."""


class Dice:
    """Fresh random numbers for the crops `indices`, a new stream at every call."""

    def __init__(self, seed: int, indices: Indices) -> None:
        self._seed, self._indices, self._stream = seed, indices, _FIRST_STREAM

    def bits(self) -> Indices:
        """64 bits."""
        self._stream += 1
        return hashed(self._seed, self._stream, self._indices)

    def uniform(self, low: float | Floats, high: float | Floats) -> Floats:
        """In [low, high)."""
        return low + (high - low) * unit(self.bits())

    def chance(self, probability: float) -> NDArray[np.bool_]:
        """True with that probability."""
        return unit(self.bits()) < probability

    def choice(self, weights: Sequence[float]) -> NDArray[np.int64]:
        """0 to len(weights) - 1, so often."""
        steps = np.cumsum(weights) / np.sum(weights)
        return np.minimum(np.searchsorted(steps, unit(self.bits()), side="right"), len(weights) - 1)


def draw_blur(dice: Dice, config: BlurConfig, sigma: Range, probability: float) -> Blur:
    """Kernels of a pass."""
    kind = dice.choice(config.kinds)
    size = np.array(config.sizes)[dice.choice([1.0] * len(config.sizes))]
    sigma_x, sigma_y = dice.uniform(*sigma), dice.uniform(*sigma)
    angle = dice.uniform(-np.pi, np.pi)
    generalized, plateau = (_beta(dice, r) for r in (config.generalized_beta, config.plateau_beta))
    iso = np.isin(kind, (ISO, GENERAL_ISO, PLATEAU_ISO))
    beta = np.select([kind >= PLATEAU_ISO, kind >= GENERAL_ISO], [plateau, generalized], 1.0)
    omega = dice.uniform(np.where(size < 13, np.pi / 3, np.pi / 5), np.pi)
    kind = np.where(dice.chance(config.sinc_probability), SINC, kind)
    kind = np.where(dice.chance(probability), kind, NONE)
    return Blur(kind, size, sigma_x, np.where(iso, sigma_x, sigma_y), np.where(iso, 0.0, angle), beta, omega)


def _beta(dice: Dice, span: Range) -> Floats:
    """Half of the time between the lower end and 1, else between 1 and the upper end (the authors' code)."""
    return np.where(dice.chance(0.5), dice.uniform(span[0], 1.0), dice.uniform(1.0, span[1]))


def draw_last_blur(dice: Dice, config: BlurConfig, probability: float) -> Blur:
    """The final sinc: cutoff from pi/3 for every size."""
    size = np.array(config.sizes)[dice.choice([1.0] * len(config.sizes))]
    omega = dice.uniform(np.pi / 3, np.pi)
    one = np.ones(len(size))
    return Blur(np.where(dice.chance(probability), SINC, NONE), size, one, one, one * 0, one, omega)


def draw_stage(
    dice: Dice, config: StageConfig, blur: BlurConfig, gaussian: float, gray: float, jpeg: tuple[int, int]
) -> Stage:
    """One pass.

    Args:
        gaussian: probability of Gaussian noise.
        gray: probability of the same noise in all channels.
        jpeg: lowest and highest quality, both possible.
    """
    kernels = draw_blur(dice, blur, config.sigma, config.blur_probability)
    way = dice.choice(config.resize)
    factor = np.select(
        [way == 0, way == 1],
        [dice.uniform(1.0, config.resize_range[1]), dice.uniform(config.resize_range[0], 1.0)],
        1.0,
    )
    mode = dice.choice([1.0, 1.0, 1.0])
    is_gaussian = dice.chance(gaussian)
    sigma, scale = dice.uniform(*config.gaussian_sigma), dice.uniform(*config.poisson_scale)
    strength = np.where(is_gaussian, sigma / 255, scale)
    key = dice.bits()
    key1, key2 = (part.astype(np.uint32).view(np.int32) for part in (key >> np.uint64(32), key & np.uint64(0xFFFFFFFF)))
    quality = np.floor(dice.uniform(jpeg[0], jpeg[1] + 1))
    return Stage(kernels, factor, mode, is_gaussian, strength, dice.chance(gray), key1, key2, quality)
