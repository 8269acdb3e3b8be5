"""Weaker forms of the second-order degradation. Not in the paper: for sources that are better than old web images."""

from dataclasses import dataclass

from srgan_dist.data.degradations.draws import StageConfig
from srgan_dist.data.degradations.realesrgan import RealESRGANDegradation


@dataclass(frozen=True, kw_only=True)
class LightDegradation(RealESRGANDegradation):
    """For good photographs: a slight blur, at times a little noise and one JPEG of high quality.

    The second stage is off except for that JPEG.
    """

    first: StageConfig = StageConfig(
        sigma=(0.2, 0.8),
        resize=(0.1, 0.3, 0.6),
        resize_range=(0.5, 1.2),
        gaussian_sigma=(1.0, 6.0),
        poisson_scale=(0.05, 0.5),
        noise_probability=0.5,
        jpeg_probability=0.0,
    )
    """First stage, which starts from the HR crop."""

    second: StageConfig = StageConfig(
        blur_probability=0.0, resize=(0.0, 0.0, 1.0), noise_probability=0.0, jpeg_probability=0.7
    )
    """Second stage, which starts from the result of the first."""

    jpeg_quality: tuple[int, int] = (75, 95)
    """Lowest and highest quality of both JPEG compressions, inclusive."""

    last_sinc_probability: float = 0.1
    """Probability of a final sinc filter."""


@dataclass(frozen=True, kw_only=True)
class MediumDegradation(RealESRGANDegradation):
    """For compressed photographs and video: both stages, with about half of the paper's blur and noise."""

    first: StageConfig = StageConfig(
        sigma=(0.2, 1.5),
        resize=(0.2, 0.5, 0.3),
        resize_range=(0.3, 1.3),
        gaussian_sigma=(1.0, 15.0),
        poisson_scale=(0.05, 1.5),
        noise_probability=0.8,
        jpeg_probability=0.8,
    )
    """First stage, which starts from the HR crop."""

    second: StageConfig = StageConfig(
        blur_probability=0.5,
        sigma=(0.2, 0.8),
        resize=(0.2, 0.3, 0.5),
        resize_range=(0.6, 1.2),
        gaussian_sigma=(1.0, 8.0),
        poisson_scale=(0.05, 0.8),
        noise_probability=0.5,
        jpeg_probability=0.8,
    )
    """Second stage, which starts from the result of the first."""

    jpeg_quality: tuple[int, int] = (50, 95)
    """Lowest and highest quality of both JPEG compressions, inclusive."""

    last_sinc_probability: float = 0.4
    """Probability of a final sinc filter."""
