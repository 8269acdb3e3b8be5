from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srgan_dist.evaluation.texture import gradient_energy, grid_ratio
from srgan_dist.imaging.images import Pixels, read
from srgan_dist.imaging.resize import interpolate
from tests.conftest import random_image


def blurred(image: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def noisy(image: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).round().astype(np.uint8)


def checkered(image: Pixels, period: int, amplitude: int) -> Pixels:
    """Add a pattern of +amplitude and -amplitude that repeats after `period` pixels in both directions."""
    y, x = np.indices(image.shape[:2])
    sign = np.where((y % period < period / 2) == (x % period < period / 2), 1, -1)
    return (image.astype(np.int16) + amplitude * sign[..., None]).clip(0, 255).astype(np.uint8)


def ratio(image: Pixels, scale: int, border: int = 0) -> float:
    value = grid_ratio(image, scale, border)
    assert value is not None
    return value


def test_an_image_has_its_own_gradient_energy():
    assert gradient_energy(random_image(40, 50), random_image(40, 50)) == 1


def test_gradient_energy_falls_with_blur_and_rises_with_noise():
    hr = random_image(80, 90)

    values = [gradient_energy(i, hr) for i in (blurred(hr, 2), blurred(hr, 0.5), hr, noisy(hr, 5), noisy(hr, 20))]

    assert values == sorted(values, key=float)
    assert len(set(values)) == 5


def test_gradient_energy_grows_with_the_square_of_contrast():
    hr = (np.indices((20, 30)).sum(axis=0) % 50)[..., None].repeat(3, axis=2).astype(np.uint8)

    assert gradient_energy(3 * hr, hr) == pytest.approx(9)


def test_gradient_energy_has_no_value_without_gradients():
    flat = np.full((20, 20, 3), 9, np.uint8)

    assert gradient_energy(random_image(20, 20), flat) is None
    assert gradient_energy(flat, random_image(20, 20)) == 0
    assert gradient_energy(random_image(20, 20), random_image(20, 20), border=10) is None


def test_images_of_different_size_have_no_gradient_energy():
    with pytest.raises(ValueError, match="different size"):
        gradient_energy(random_image(20, 20), random_image(20, 24))


def test_the_border_does_not_count():
    hr = random_image(80, 80)
    spoilt = hr.copy()
    spoilt[:4], spoilt[:, -4:] = 255, 0

    assert gradient_energy(spoilt, hr, border=4) == 1
    assert grid_ratio(spoilt, 4, border=4) == grid_ratio(hr, 4, border=4)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_repeated_pixels_have_a_grid_ratio_of_scale_or_more(scale: int):
    lr = random_image(32, 40)

    assert scale - 1e-9 < ratio(interpolate(lr, scale, "nearest"), scale) < 1.3 * scale


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_images_without_a_grid_have_a_grid_ratio_near_one(scale: int):
    hr = random_image(240, 240)

    assert ratio(hr, scale) < 1.3
    assert ratio(interpolate(hr[: 240 // scale, : 240 // scale], scale, "bicubic"), scale) < 1.6


@pytest.mark.parametrize("scale", [2, 4])
def test_an_added_pattern_raises_the_grid_ratio(scale: int):
    hr = random_image(160, 160)

    values = [ratio(checkered(hr, scale, amplitude), scale) for amplitude in (0, 2, 4, 8, 16)]

    assert values == sorted(values)
    assert values[-1] > 3


def test_a_pattern_of_another_period_is_no_grid():
    hr = random_image(200, 200)

    assert ratio(checkered(hr, 5, 16), 4) < 1.3


@pytest.mark.parametrize("axis", [0, 1])
def test_lines_of_one_direction_are_a_grid(axis: int):
    image = np.full((64, 64, 3), 100, np.uint8)
    image[np.indices((64, 64))[axis] % 4 == 0] = 110

    value = ratio(image, 4)

    assert value > 3
    assert np.isfinite(value)


def test_flat_and_small_images_have_no_grid_ratio():
    assert grid_ratio(np.full((80, 80, 3), 7, np.uint8), 4) is None
    assert grid_ratio(random_image(32, 80), 4) is None
    assert grid_ratio(random_image(33, 80), 4) is not None
    assert grid_ratio(random_image(40, 80), 4, border=4) is None
    assert grid_ratio(random_image(8, 8), 4, border=10) is None


def test_set5_and_its_interpolations(shared: Path):
    files = sorted((shared / "set5" / "HR_x4").glob("*.png"))
    lr, hr = [read(shared / "set5" / "LR_x4" / f.name) for f in files], [read(f) for f in files]
    bicubic = [interpolate(image, 4, "bicubic") for image in lr]

    energy = [gradient_energy(image, original, 4) for image, original in zip(bicubic, hr, strict=True)]

    assert max(ratio(image, 4, 4) for image in hr) < 1.25
    assert max(ratio(image, 4, 4) for image in bicubic) < 1.4
    assert min(ratio(interpolate(image, 4, "nearest"), 4, 4) for image in lr) > 3.9
    assert all(0.05 < value < 0.35 for value in energy if value is not None)
