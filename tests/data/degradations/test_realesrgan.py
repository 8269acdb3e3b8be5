from dataclasses import replace

import numpy as np
import pytest
import torch

from srgan_dist.data.degradations import LightDegradation, MediumDegradation, RealESRGANDegradation
from srgan_dist.data.degradations.draws import StageConfig

CONFIG = RealESRGANDegradation()


def hr(count, side=64, detail=8):
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, detail, detail, generator=rng)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


def indices(*numbers):
    return np.array(numbers, np.uint64)


def test_a_crop_becomes_the_same_in_any_batch():
    degrade, images, numbers = CONFIG.build(4, seed=1), hr(12), np.arange(12, dtype=np.uint64)

    together = degrade(images, numbers)
    halves = [degrade(images[k::2], numbers[k::2]) for k in (0, 1)]
    alone = degrade(images[5:6], numbers[5:6])

    for k in (0, 1):
        assert torch.equal(halves[k].lr, together.lr[k::2])
        assert torch.equal(halves[k].target, together.target[k::2])
    assert torch.equal(alone.lr, together.lr[5:6])


def test_another_index_or_seed_is_another_degradation():
    image = hr(1)

    lr = [CONFIG.build(4, s)(image, indices(i)).lr for s, i in ((0, 0), (0, 1), (1, 0))]

    assert not torch.equal(lr[0], lr[1])
    assert not torch.equal(lr[0], lr[2])


@pytest.mark.parametrize(("scale", "side"), [(4, 64), (2, 64), (1, 32), (4, 100), (4, 24)])
def test_lr_is_8_bit_rgb_of_the_right_size_at_every_scale_and_crop(scale, side):
    images = hr(6, side)

    made = CONFIG.build(scale, 0)(images, np.arange(6, dtype=np.uint64))

    assert made.lr.shape == (6, 3, side // scale, side // scale)
    assert made.target.shape == images.shape
    levels = made.lr * 255
    assert (levels - levels.round()).abs().max() < 1e-4
    assert made.lr.min() >= 0
    assert made.lr.max() <= 1
    assert made.lr.is_contiguous(memory_format=torch.channels_last)


def test_lr_shows_the_same_image():
    """No shift, nothing mirrored, no channels swapped."""
    gentle = StageConfig(sigma=(0.2, 0.3), resize=(0, 0, 1), gaussian_sigma=(0.1, 0.2), poisson_scale=(0.0, 0.01))
    calm = replace(CONFIG, first=gentle, second=gentle, jpeg_quality=(95, 95), sharpen=False, last_sinc_probability=0.0)
    images = hr(6, detail=3)
    small = torch.nn.functional.avg_pool2d(images, 4)

    lr = calm.build(4, 0)(images, np.arange(6, dtype=np.uint64)).lr

    right = (lr - small).abs().mean()
    assert right < 0.02
    for wrong in (small.flip(1), small.flip(2), small.flip(3), small.transpose(2, 3)):
        assert (lr - wrong).abs().mean() > 3 * right


def test_the_target_is_sharpened_and_the_discriminators_image_is_not():
    images = hr(2)
    before = images.clone()

    sharp = CONFIG.build(4, 0)(images, indices(0, 1)).target
    plain = replace(CONFIG, sharpen=False).build(4, 0)(images, indices(0, 1)).target

    assert torch.equal(images, before)
    assert torch.equal(plain, images)
    assert sharp.diff(dim=-1).abs().mean() > 1.02 * images.diff(dim=-1).abs().mean()


def test_sharpening_is_opencvs_recipe():
    cv2 = pytest.importorskip("cv2")
    image = hr(1)[0].permute(1, 2, 0).numpy().astype(np.float32)
    kernel = cv2.getGaussianKernel(51, 0)
    kernel = (kernel @ kernel.T).astype(np.float32)

    def blur(x):
        return cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REFLECT_101)

    residual = image - blur(image)
    softly = blur((np.abs(residual) * 255 > 10).astype(np.float32))
    wanted = softly * np.clip(image + 0.5 * residual, 0, 1) + (1 - softly) * image

    got = CONFIG.build(4, 0)(hr(1), indices(0)).target[0].permute(1, 2, 0).numpy()

    assert np.abs(got - wanted).max() < 1e-4


def test_a_crop_with_a_margin_is_cut_from_the_degraded_area_at_its_own_place():
    degrade, images, numbers = replace(CONFIG, margin=30).build(4, 0), hr(5, 96), np.arange(5, dtype=np.uint64)
    offsets = np.array([(0, 0), (7, 7), (3, 5), (5, 3), (1, 0)])

    made, area = degrade(images, numbers, offsets), degrade(images, numbers)

    for j, (y, x) in enumerate(offsets.tolist()):
        assert torch.equal(made.lr[j], area.lr[j, :, y : y + 17, x : x + 17])
        for got, entire in ((made.hr, images), (made.target, area.target)):
            assert torch.equal(got[j], entire[j, :, 4 * y : 4 * y + 68, 4 * x : 4 * x + 68])
    assert made.lr.is_contiguous(memory_format=torch.channels_last)


def test_a_margin_is_a_multiple_of_the_scale_and_not_negative():
    assert [replace(CONFIG, margin=m).margin_at(s) for m, s in ((144, 4), (30, 4), (144, 5), (0, 3))] == [
        144,
        28,
        140,
        0,
    ]
    with pytest.raises(ValueError, match=r"degradation.margin=-4 must be at least 0"):
        replace(CONFIG, margin=-4).margin_at(4)


@pytest.mark.extended
def test_steps_at_block_borders_are_those_of_the_authors_procedure():
    """Large crops from large areas, degraded by OpenCV and Pillow: blocks of JPEG begin anywhere in LR."""
    pytest.importorskip("cv2")
    from benchmarks.degradation import border_steps, large_areas

    authors, ours, locked = border_steps(large_areas(64, None), 256, 8).values()

    assert ours[7] == pytest.approx(authors[7], rel=0.02)
    assert ours[7] / ours[:7].mean() == pytest.approx(authors[7] / authors[:7].mean(), rel=0.02)
    assert abs(locked[7] / locked[:7].mean() - 1) > 0.05  # lower in these images, higher in photographs


OFF = StageConfig(blur_probability=0, resize=(0, 0, 1), noise_probability=0, jpeg_probability=0)


def test_with_all_stages_off_lr_is_the_downscaled_crop():
    calm = replace(CONFIG, first=OFF, second=OFF, sharpen=False, last_sinc_probability=0.0, resize_modes=(1, 0, 0))
    images = hr(6)

    lr = calm.build(4, 0)(images, np.arange(6, dtype=np.uint64)).lr

    assert (lr - torch.nn.functional.avg_pool2d(images, 4)).abs().max() <= 0.5001 / 255


@pytest.mark.parametrize("name", ["noise_probability", "jpeg_probability"])
def test_a_part_of_one_stage_can_be_turned_off_without_changing_the_other_draws(name: str):
    numbers = np.arange(400, dtype=np.uint64)
    config = replace(CONFIG, second=replace(CONFIG.second, **{name: 0.25}))

    every, some = CONFIG.draw(0, numbers), config.draw(0, numbers)

    field = {"noise_probability": "strength", "jpeg_probability": "quality"}[name]
    before, after = getattr(every.second, field), getattr(some.second, field)
    on = after != 0
    assert 0.15 < on.mean() < 0.35
    assert np.array_equal(after[on], before[on])
    assert all(np.array_equal(a, b) for a, b in zip(every.first[1:], some.first[1:], strict=True))
    others = [f for f in every.second._fields if f not in ("blur", field)]
    assert all(np.array_equal(getattr(every.second, f), getattr(some.second, f)) for f in others)


def test_a_crop_without_jpeg_becomes_the_same_beside_crops_with_it():
    calm = replace(OFF, jpeg_probability=0.5)
    config, images = replace(CONFIG, first=calm, second=calm, last_sinc_probability=0.0), hr(24)
    numbers = np.arange(24, dtype=np.uint64)
    draws = config.draw(0, numbers)
    neither = (draws.first.quality == 0) & (draws.second.quality == 0)

    mixed = config.build(4, 0)(images, numbers).lr
    without = replace(config, first=OFF, second=OFF).build(4, 0)(images, numbers).lr

    assert 0 < neither.sum() < 24
    same = [torch.equal(a, b) for a, b in zip(mixed, without, strict=True)]
    assert same == neither.tolist()


def test_resize_filters_can_be_turned_off():
    draws = replace(CONFIG, resize_modes=(0, 1, 0)).draw(0, np.arange(300, dtype=np.uint64))

    assert {*draws.first.mode, *draws.second.mode, *draws.last_mode} == {1}


def test_weaker_degradations_change_the_image_less():
    images, numbers = hr(48, 96), np.arange(48, dtype=np.uint64)
    small = torch.nn.functional.interpolate(images, scale_factor=0.25, mode="bicubic", antialias=True)

    errors = [
        (k(sharpen=False).build(4, 0)(images, numbers).lr - small).abs().mean()
        for k in (LightDegradation, MediumDegradation, RealESRGANDegradation)
    ]

    assert 1.5 * errors[0] < errors[1] < errors[2] / 1.2
