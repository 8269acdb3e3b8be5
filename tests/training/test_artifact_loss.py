"""The loss on artifacts: where it is zero, what it weighs, and that it changes nothing unless it is asked for."""

import numpy as np
import pytest
import torch
from torch import nn

from srgan_dist.training.artifact_loss import WINDOW, ArtifactLoss, artifact_map


def image(seed: int = 0, side: int = 24) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_pixel_counts_only_where_the_generator_is_worse_than_its_average() -> None:
    hr, sr = image(), image(1)
    better = (hr + sr) / 2  # half the error everywhere
    assert (artifact_map(sr, better, hr) > 0).all()
    assert not artifact_map(better, sr, hr).any()
    assert not artifact_map(sr, sr, hr).any()


def test_the_map_is_the_variance_of_the_error_around_a_pixel_times_the_fifth_root_of_its_variance() -> None:
    hr, sr = image(2), image(3)
    error = (sr - hr).abs().sum(1).double().numpy()
    half = WINDOW // 2
    for number, row, column in ((0, 10, 12), (1, 0, 23)):
        padded = np.pad(error[number], half, mode="reflect")
        window = padded[row : row + WINDOW, column : column + WINDOW]
        wanted = window.var(ddof=1) * error[number].var(ddof=1) ** 0.2
        assert artifact_map(sr, hr, hr)[number, 0, row, column].item() == pytest.approx(wanted, rel=1e-4)


def test_an_even_error_is_no_artifact() -> None:
    hr = image(4) / 2
    assert artifact_map(hr + 0.25, hr, hr).max() < 1e-6
    dots = hr + 0.25 * (torch.arange(24) % 2)
    assert artifact_map(dots, hr, hr).max() > 1e-2


def test_only_the_generators_image_gets_a_gradient() -> None:
    average = nn.Upsample(scale_factor=2)
    average.gain = nn.Parameter(torch.ones(()))
    lr, hr = image(5, 12).requires_grad_(), image(6)
    sr = image(7).requires_grad_()
    loss = ArtifactLoss(average)(lr, sr, hr)
    loss.backward()
    assert lr.grad is None
    assert average.gain.grad is None
    expected = artifact_map(sr.detach(), average(lr.detach()), hr) * (sr.detach() - hr).sign() / sr.numel()
    torch.testing.assert_close(sr.grad, expected)


def test_bfloat16_images_are_compared_in_float32() -> None:
    loss = ArtifactLoss(nn.Upsample(scale_factor=2))(image(8, 12), image(9).bfloat16(), image(10).bfloat16())
    assert loss.dtype == torch.float32
