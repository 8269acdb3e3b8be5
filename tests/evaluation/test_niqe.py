from pathlib import Path

import numpy as np
import pytest

from srgan_dist.evaluation.niqe import niqe
from srgan_dist.imaging.images import Pixels, read
from srgan_dist.imaging.resize import interpolate
from tests.conftest import random_image


def formula(height: int = 300, width: int = 310) -> Pixels:
    """Three by three blocks of texture with a flat corner, from integers alone."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    image = 120 + np.abs(x * y // 40 % 180 - 90) + (3 * y * y + 5 * x * x + 7 * x * y) % 23 - 10 * c
    image[:120, :130] = 100
    return image.clip(0, 255).astype(np.uint8)


def test_golden_value_of_an_image_made_by_a_formula():
    """BasicSR 1.4.2, which computes in float32, gives 19.51746 for it."""
    assert niqe(formula()) == pytest.approx(19.517482, abs=1e-4)


def test_baboon_has_the_value_of_the_authors_matlab_code(shared: Path):
    assert niqe(read(shared / "set14" / "HR_x4" / "img_001.png")) == pytest.approx(5.72957, abs=1e-4)


@pytest.mark.slow
def test_means_of_set14_are_the_published_ones(shared: Path):
    """They count images of four blocks, too, and leave out a border of `scale` pixels."""
    files = sorted((shared / "set14" / "HR_x4").glob("*.png"))
    bicubic = [interpolate(read(shared / "set14" / "LR_x4" / f.name), 4, "bicubic") for f in files]

    of_bicubic, of_hr = [niqe(i, 4, 4) for i in bicubic], [niqe(read(f), 4, 4) for f in files]

    assert np.mean([v for v in of_bicubic if v is not None]) == pytest.approx(7.62, abs=0.01)
    assert np.mean([v for v in of_hr if v is not None]) == pytest.approx(4.92, abs=0.01)
    assert None not in of_bicubic + of_hr


def test_the_border_is_cut_off_before():
    image = formula()

    assert niqe(image, border=5) == niqe(np.ascontiguousarray(image[5:-5, 5:-5]))


def test_incomplete_blocks_do_not_count():
    image = formula()

    assert niqe(image) == niqe(image[:288, :288])


@pytest.mark.parametrize(
    ("height", "width", "least", "told"),
    [
        (288, 288, 9, True),
        (288, 287, 9, False),
        (192, 192, 9, False),
        (192, 192, 4, True),
        (95, 400, 1, False),
        (8, 8, 0, False),
    ],
)
def test_too_few_blocks_have_no_value(height: int, width: int, least: int, told: bool):
    assert (niqe(random_image(height, width), min_blocks=least) is not None) == told


def test_a_border_that_leaves_nothing_has_no_value():
    assert niqe(random_image(30, 30), border=20, min_blocks=1) is None


@pytest.mark.parametrize("level", [0, 77, 255])
def test_flat_images_have_no_value(level: int):
    assert niqe(np.full((300, 300, 3), level, np.uint8)) is None


def test_flat_blocks_among_others_do_no_harm():
    image = random_image(288, 480)
    image[:, 192:] = 40

    value = niqe(image)

    assert value is not None
    assert np.isfinite(value)
