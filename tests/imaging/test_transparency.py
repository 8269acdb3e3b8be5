import numpy as np
import pytest
from PIL import Image

from srgan_dist.imaging import transparency
from srgan_dist.imaging.transparency import spread_colors
from tests.conftest import random_image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 40), (37, 50), (130, 300), (30, 2300)])
def test_one_visible_color_fills_everything(dtype: type, channels: int, size: tuple[int, int]):
    alpha = np.zeros(size, dtype)
    alpha[0, 3], alpha[-1, -2] = np.iinfo(dtype).max, 1
    pixels = np.where(alpha[:, :, None] > 0, np.array([230, 40, 41])[:channels], 0).astype(dtype)

    spread = spread_colors(pixels, alpha)

    assert spread.dtype == dtype
    assert (spread == np.array([230, 40, 41])[:channels]).all()


def test_visible_pixels_stay_and_hidden_ones_continue_what_is_beside_them():
    rgb = random_image(64, 80)
    alpha = np.zeros((64, 80), np.uint8)
    alpha[:, :40] = 255
    black = np.where(alpha[:, :, None] > 0, rgb, 0)

    spread = spread_colors(black, alpha)

    assert np.array_equal(spread[:, :40], rgb[:, :40])
    beside = np.stack([rgb[1:-1, 39], rgb[:-2, 39], rgb[2:, 39]]).mean(0)
    assert np.abs(spread[1:-1, 40] - beside).max() <= 0.51
    assert np.abs(spread[:, 79].mean() - rgb[:, :40].mean()) < 60


def test_without_hidden_or_visible_pixels_nothing_changes():
    rgb = random_image(8, 9)

    for level in (0, 1, 255):
        assert np.array_equal(spread_colors(rgb, np.full((8, 9), level, np.uint8)), rgb)


def test_what_is_hidden_does_not_matter():
    rgb, other = random_image(30, 40), random_image(30, 40, seed=1)
    alpha = np.asarray(Image.fromarray(random_image(30, 40, seed=2)).convert("L")).copy()
    alpha[alpha < 100] = 0
    shown = alpha[:, :, None] > 0

    assert np.array_equal(
        spread_colors(np.where(shown, rgb, 0), alpha), spread_colors(np.where(shown, rgb, other), alpha)
    )


def test_blocks_join_where_it_matters():
    rgb = random_image(40, 2300)
    alpha = np.zeros((40, 2300), np.uint8)
    alpha[15:25] = 255
    black = np.where(alpha[:, :, None] > 0, rgb, 0)

    at_once = transparency._spread(black, alpha)

    assert np.array_equal(spread_colors(black, alpha)[12:28], at_once[12:28])
