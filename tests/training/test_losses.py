import math

import torch
from torch import nn

from srgan_dist.training.losses import ContentConfig, ContentLoss, VanillaGAN, pixel_loss


class Same(nn.Module):
    """Features of one layer: what came in."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (images,)


def test_pixel_loss_is_the_mean_difference():
    sr, hr = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)

    assert pixel_loss("l1", sr, hr) == 0.5
    assert pixel_loss("mse", sr, hr) == 0.25


def test_content_loss_scales_features_by_one_over_12_75():
    loss = ContentLoss(Same(), ContentConfig())

    value = loss(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 12.75))

    torch.testing.assert_close(value, torch.tensor(1.0))


def test_content_loss_has_no_gradient_towards_the_original():
    sr, hr = torch.rand(1, 3, 4, 4, requires_grad=True), torch.rand(1, 3, 4, 4, requires_grad=True)

    ContentLoss(nn.Sequential(nn.Conv2d(3, 2, 3), Same()), ContentConfig())(sr, hr).backward()

    assert sr.grad is not None
    assert hr.grad is None


def test_an_undecided_discriminator_costs_both_sides_log_two():
    undecided = torch.zeros(3, 1)

    assert math.isclose(VanillaGAN().for_discriminator(undecided, undecided).loss, 2 * math.log(2), rel_tol=1e-6)
    assert math.isclose(VanillaGAN().for_generator(None, undecided), math.log(2), rel_tol=1e-6)


def test_the_discriminator_wants_high_logits_for_real_and_the_generator_for_fake():
    high, low = torch.full((2, 1), 10.0), torch.full((2, 1), -10.0)
    gan = VanillaGAN()

    assert gan.for_discriminator(high, low).loss < gan.for_discriminator(low, high).loss
    assert gan.for_generator(None, high) < gan.for_generator(None, low)


def test_the_diagnostics_are_the_mean_logits_and_the_share_that_was_told_apart():
    real, fake = torch.tensor([[6.0], [2.0], [-1.0], [5.0]]), torch.tensor([[4.0], [-4.0], [-3.0], [-1.0]])

    told = VanillaGAN().for_discriminator(real, fake).diagnostics()

    # Three of four real images have positive logits, three of four generated ones negative logits.
    assert {n: t.item() for n, t in told.items()} == {"real_logits": 3.0, "fake_logits": -1.0, "accuracy": 3 / 4}


def test_losses_are_float32_whatever_comes_in():
    half = torch.rand(1, 3, 4, 4).bfloat16()

    assert pixel_loss("l1", half, half).dtype == torch.float32
    assert ContentLoss(Same(), ContentConfig())(half, half).dtype == torch.float32
    assert VanillaGAN().for_generator(None, half).dtype == torch.float32
