from dataclasses import replace

import numpy as np
import pytest
import torch

from srgan_dist.data.degradations import RealESRGANDegradation
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
