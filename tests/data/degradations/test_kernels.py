import numpy as np
import pytest
import torch
from torch.nn import functional as F

from srgan_dist.data.degradations.draws import NONE, SINC, Blur
from srgan_dist.data.degradations.kernels import (
    MARGIN,
    filtered,
    gaussian_matrix,
    kernels,
    mirror_index,
    mirror_padded,
    mirrored,
)
from srgan_dist.data.degradations.resampling import resize, resize_matrix


def one(**options):
    values = {"kind": 0, "size": 21, "sigma_x": 2.0, "sigma_y": 2.0, "angle": 0.0, "beta": 1.0, "omega": 2.0} | options
    return kernels(Blur(*(torch.tensor([float(v)]) for v in values.values())))[0]


@pytest.mark.parametrize("kind", range(8))
@pytest.mark.parametrize("size", [7, 21])
def test_kernels_sum_to_one_are_point_symmetric_and_stay_inside_their_size(kind, size):
    kernel = one(kind=kind, size=size, sigma_y=1.0, angle=0.7, beta=1.5)

    outside = (21 - size) // 2
    assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=1e-6, rtol=0)
    assert kernel[:outside].abs().sum() == 0
    assert kernel[:, :outside].abs().sum() == 0


def test_an_isotropic_gaussian_is_the_textbooks():
    axis = np.arange(-MARGIN, MARGIN + 1)
    g = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 2.0**2))

    np.testing.assert_allclose(one().numpy(), g / g.sum(), atol=1e-7)


def test_an_anisotropic_gaussian_lies_along_its_angle():
    kernel = one(kind=1, sigma_x=4.0, sigma_y=1.0, angle=np.pi / 4)

    assert kernel[MARGIN + 3, MARGIN + 3] > 10 * kernel[MARGIN + 3, MARGIN - 3]


def test_sinc_is_the_low_pass_of_its_cutoff():
    kernel = one(kind=SINC, omega=np.pi / 2)
    spectrum = torch.fft.fft(F.pad(kernel.sum(0), (0, 107))).abs()

    assert spectrum[: 128 // 4 - 8].min() > 0.8
    assert spectrum[128 // 4 + 8 : 64].max() < 0.1


def test_no_blur_is_the_image():
    images = torch.rand(1, 3, 40, 40)

    out = filtered(images, one(kind=NONE)[None])

    torch.testing.assert_close(out, images[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN], atol=1e-6, rtol=0)


def test_filtering_by_fft_is_a_convolution_with_each_crops_own_kernel():
    images = torch.rand(2, 3, 52, 52)
    both = torch.stack([one(kind=1, sigma_x=3.0, sigma_y=0.5, angle=0.3), one(kind=SINC)])

    out = filtered(images, both)

    grouped = F.conv2d(images.view(1, 6, 52, 52), both[:, None].repeat_interleave(3, 0), groups=6).view(2, 3, 32, 32)
    torch.testing.assert_close(out, grouped, atol=2e-6, rtol=0)


def test_padding_mirrors_each_crop_at_its_own_size():
    images = torch.rand(2, 3, 32, 32)

    out = mirror_padded(images, mirror_index(torch.tensor([20, 32]), 32))

    small = F.pad(images[:1, :, :20, :20], (MARGIN,) * 4, mode="reflect")
    assert torch.equal(out[:1, :, :40, :40], small)
    assert torch.equal(out[1:], F.pad(images[1:], (MARGIN,) * 4, mode="reflect"))


def test_mirroring_works_for_images_smaller_than_the_margin():
    index = mirrored(torch.arange(-5, 9), 4)

    assert index.tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert mirrored(torch.arange(-2, 3), 1).tolist() == [0] * 5


def test_the_gaussian_matrix_is_a_mirrored_gaussian_blur():
    image = torch.rand(1, 1, 40, 40)
    taps = torch.exp(-((torch.arange(51) - 25.0) ** 2) / (2 * 8.0**2))
    taps = taps / taps.sum()

    matrix = gaussian_matrix(40, side=51, sigma=8.0)
    out = matrix @ image @ matrix.T

    padded = F.pad(image, (25,) * 4, mode="reflect")
    torch.testing.assert_close(out, F.conv2d(padded, (taps[:, None] * taps)[None, None]), atol=5e-6, rtol=0)


@pytest.mark.parametrize(("mode", "name"), enumerate(["area", "bilinear", "bicubic"]))
def test_resizing_is_torchs_with_each_crops_own_sizes_and_repeats_the_edge(mode, name):
    images = torch.rand(4, 3, 48, 48)
    sizes, new = [48, 30, 48, 33], [20, 61, 64, 33]  # shrunk, grown, grown to the canvas, kept

    modes = torch.full((4,), mode)
    out = resize(images, resize_matrix(torch.tensor(sizes), torch.tensor(new), modes, source=48, canvas=64, reach=3))

    for crop, n, m, got in zip(images, sizes, new, out, strict=True):
        align = {} if name == "area" else {"align_corners": False}
        wanted = F.interpolate(crop[None, :, :n, :n], size=(m, m), mode=name, **align)[0]
        torch.testing.assert_close(got[:, :m, :m], wanted, atol=2e-5, rtol=0)
        assert (got[:, m:, :] - got[:, m - 1 : m, :]).abs().sum() == 0
        assert (got[:, :, m:] - got[:, :, m - 1 : m]).abs().sum() == 0
