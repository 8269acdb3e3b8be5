import numpy as np
import torch

from srgan_dist.data.degradations.noise import add_noise, noise_index, poisson_table

TABLE = poisson_table(torch.device("cpu"))


def add(images, poisson=(), size=None, strength=0.05, gray=0, key=1):
    count = len(images)
    keys = torch.stack([torch.arange(count) * 7919 + k for k in (key, 2**31 + key)]).int()
    size, gray = torch.full((count,), size or images.shape[-1]), torch.full((count,), gray)
    index = noise_index(size, gray, keys, images.shape[-1]).of(slice(None), images.shape[-1])
    return add_noise(images, index, torch.full((count,), strength), gray, torch.tensor(poisson, dtype=torch.int64))


def noise(images, poisson=(), **options):
    return add(images, poisson, **options) - images


def test_gaussian_noise_has_the_deviation_asked_for_and_is_independent():
    gray = torch.full((2, 3, 200, 200), 0.5)

    n = noise(gray)

    flat = n.reshape(6, -1)
    assert abs(n.mean().item()) < 5e-4
    assert abs(n.std().item() / 0.05 - 1) < 0.01
    assert (torch.corrcoef(flat) - torch.eye(6)).abs().max() < 0.03
    assert abs(np.corrcoef(n[0, 0, :, :-1].ravel(), n[0, 0, :, 1:].ravel())[0, 1]) < 0.03
    assert abs(((n / 0.05) ** 4).mean().item() - 3) < 0.1  # a normal distribution's


def test_gray_noise_is_the_same_in_all_channels():
    images = torch.full((1, 3, 64, 64), 0.5)

    for poisson in ((), (0,)):
        n = noise(images, poisson, gray=1)
        assert n[:, 0].std() > 0
        assert (n - n[:, :1]).abs().max() == 0


def test_poisson_counts_have_the_mean_and_variance_of_their_mean():
    rng = torch.Generator().manual_seed(0)
    uniform = torch.rand(1, 1, 500, 500, generator=rng)
    for level, exponent in ((0, 8), (1, 8), (40, 5), (128, 8), (255, 8)):
        mean = level / 255 * 2**exponent

        counts = TABLE.sample(torch.full_like(uniform, level), torch.full((1, 1, 1, 1), exponent), uniform)

        assert abs(counts.mean().item() - mean) <= 0.02 * mean**0.5 + 1e-9
        assert abs(counts.var().item() - mean) <= 0.03 * mean + 1e-9


def test_poisson_noise_counts_in_the_images_own_number_of_levels():
    ramp = (torch.arange(64.0) * 3 / 255).view(1, 1, 1, 64).expand(1, 3, 64, 64)  # 64 levels
    flat_part = ramp[..., 40:41].mean().item()

    n = noise(ramp.contiguous(), (0,), strength=1.0)

    assert abs(n[..., 40].var().item() / (flat_part / 64) - 1) < 0.25


def test_noise_beyond_the_crop_repeats_its_edge():
    images = torch.full((1, 3, 32, 32), 0.5)

    out = add(images, size=20)

    assert (out[:, :, 20:] - out[:, :, 19:20]).abs().max() == 0
    assert (out[..., 20:] - out[..., 19:20]).abs().max() == 0
