import math
from pathlib import Path

import numpy as np
import pytest

from srgan_dist.imaging import images
from srgan_dist.imaging.resize import KERNELS, crop_to_multiple, downscale, imresize
from tests.conftest import random_image
from tests.imaging import imresize_reference


def pairs(shared: Path, name: str, scale: int) -> list[tuple[Path, Path]]:
    if name != "div2k_mini":
        hr = sorted((shared / name / f"HR_x{scale}").iterdir())
        return [(f, shared / name / f"LR_x{scale}" / f.name) for f in hr]
    lr = sorted((shared / name).rglob(f"*x{scale}.png"))
    return [(next((shared / name).glob(f"*_HR/{f.stem.split('x')[0]}.png")), f) for f in lr]


@pytest.mark.parametrize(
    ("name", "scale", "kernel"),
    [
        *((name, s, "matlab-clamp") for name in ("set5", "set14") for s in (2, 4)),
        *(("div2k_mini", s, "matlab-mirror") for s in (2, 3, 4)),
    ],
)
def test_downscaling_is_matlabs_in_every_value(shared: Path, name: str, scale: int, kernel):
    found = pairs(shared, name, scale)
    assert found

    for hr, lr in found:
        assert np.array_equal(downscale(images.read(hr), scale, kernel), images.read(lr)), hr


@pytest.mark.parametrize("name", ["lr_x2", "lr_x3", "lr_x4", "lr_x4_clamp"])
def test_a_frozen_photograph_is_downscaled_as_matlab_does(name: str):
    with np.load(Path(__file__).parent / "golden_pair.npz") as golden:
        hr, lr = golden["hr"], golden[name]

    assert np.array_equal(downscale(hr, int(name[4]), "matlab-clamp" if "clamp" in name else "matlab-mirror"), lr)


@pytest.mark.parametrize("edge", ["mirror", "clamp"])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_downscaling_follows_matlabs_rule_in_every_value(scale: int, edge: str):
    hr = random_image(7 * scale, 9 * scale, seed=scale)

    assert np.array_equal(
        downscale(hr, scale, "matlab-clamp" if edge == "clamp" else "matlab-mirror"),
        imresize_reference.imresize(hr, scale, edge),
    )


def test_the_two_edge_rules_differ_only_near_the_edge():
    hr = random_image(64, 64)

    mirror, clamp = downscale(hr, 4, "matlab-mirror"), downscale(hr, 4, "matlab-clamp")

    assert not np.array_equal(mirror, clamp)
    assert np.array_equal(mirror[2:-2, 2:-2], clamp[2:-2, 2:-2])


@pytest.mark.parametrize("kernel", ["pillow", "torch"])
def test_the_other_kernels_are_near_matlabs_but_not_the_same(kernel):
    hr = random_image(96, 128)

    difference = np.abs(downscale(hr, 4, kernel).astype(int) - downscale(hr, 4).astype(int))

    assert 0 < difference.max() <= 12
    assert difference.mean() < 0.5


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_flat_image_stays_flat(kernel):
    assert (downscale(np.full((24, 36, 3), 77, np.uint8), 3, kernel) == 77).all()


def test_a_size_that_is_no_multiple_is_refused():
    with pytest.raises(ValueError, match="not a multiple of scale=4"):
        downscale(random_image(30, 32), 4)


def test_cropping_keeps_the_top_left():
    hr = random_image(31, 34)

    assert np.array_equal(crop_to_multiple(hr, 4), hr[:28, :32])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_any_factor_follows_the_rule_that_integer_factors_follow(scale: int):
    hr = random_image(33 * scale, 29 * scale, seed=scale)

    assert np.array_equal(imresize(hr, 1 / scale), downscale(hr, scale))


def test_resizing_by_2_and_a_half_or_three_quarters_keeps_ramps_dtype_and_place():
    ramp = np.linspace(1000, 60000, 80).astype(np.uint16)
    image = np.repeat(np.repeat(ramp[None, :, None], 40, axis=0), 3, axis=2)

    for factor, tolerance in ((2.5, 1.5), (0.75, 15)):  # the widened kernel ripples by 2 % of a pixel's step
        size = (math.ceil(40 * factor), math.ceil(80 * factor))
        resized = imresize(image, factor)
        assert (resized.shape, resized.dtype) == ((*size, 3), np.uint16)
        columns = (np.arange(size[1]) + 0.5) / factor - 0.5  # centers of pixels, in pixels of the image
        inner = slice(8, -8)
        expected = np.interp(columns, np.arange(80), ramp.astype(float))
        assert np.abs(resized[5, :, 0] - expected)[inner].max() <= tolerance


def test_resizing_to_the_same_size_changes_nothing():
    image = random_image(20, 24)

    assert np.array_equal(imresize(image, 1.0), image)


def test_a_texture_that_repeats_is_resized_as_the_middle_of_its_copies():
    texture = random_image(16, 24)
    copies = np.tile(texture, (3, 3, 1))

    resized, middle = imresize(texture, 0.75, "wrap"), imresize(copies, 0.75)[12:24, 18:36]

    assert np.array_equal(resized, middle)
