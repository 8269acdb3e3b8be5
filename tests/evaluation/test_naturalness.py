import numpy as np
import pytest

from srgan_dist.evaluation.metrics import Scores
from srgan_dist.evaluation.naturalness import color_difference, implausible, naturalness, original_naturalness
from srgan_dist.imaging.resize import downscale, interpolate
from tests.conftest import random_image

HR: Scores = {"gradient_energy": 1.0, "grid_ratio": 1.05, "niqe": 4.9}
GAN: Scores = {"psnr_y": 25.0, "gradient_energy": 0.97, "grid_ratio": 1.1, "niqe": 4.5, "color_drift": 1.0}


def test_the_original_has_its_own_detail():
    hr = random_image(216, 312)

    assert original_naturalness(hr, 4)["gradient_energy"] == 1


def test_scores_that_an_image_is_too_small_or_too_flat_for_are_left_out():
    small, flat = random_image(64, 64), np.full((216, 312, 3), 90, np.uint8)

    assert naturalness(small, small, 4).keys() == {"gradient_energy", "grid_ratio"}
    assert naturalness(flat, flat, 4).keys() == set()
    assert "niqe" not in naturalness(small := random_image(200, 200), small, 4, min_blocks=9)


def test_color_difference_is_in_levels():
    hr = np.full((4, 4, 3), 100, np.uint8)

    assert color_difference(hr + np.array([0, 3, 6], np.uint8), hr) == 3
    assert color_difference(hr, hr) == 0


def test_a_result_like_the_original_is_plausible():
    assert implausible(GAN, HR) == []
    assert implausible({"psnr_y": 30.0}, {}) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"grid_ratio": 1.85}, "grid"), ({"gradient_energy": 1.4}, "noise"), ({"color_drift": 4.5}, "color drift"),
        ({"niqe": 3.8}, "NIQE below HR"),
    ],
)  # fmt: skip
def test_each_limit_is_named(changed: Scores, name: str):
    assert [found for found, _ in implausible(GAN | changed, HR)] == [name]


def test_the_grid_is_judged_beside_that_of_the_original():
    assert implausible(GAN | {"grid_ratio": 2.1}, HR | {"grid_ratio": 1.5}) == []


@pytest.mark.parametrize("method", ["nearest", "bicubic"])
def test_repeated_pixels_are_a_grid_and_blur_is_none(method):
    hr = random_image(216, 312)
    sr = interpolate(downscale(hr, 4), 4, method)

    found = [name for name, _ in implausible(naturalness(sr, hr, 4), original_naturalness(hr, 4))]

    assert ("grid" in found) == (method == "nearest")
