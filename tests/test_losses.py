import math

import torch
from torch import nn

from srgan_dist.losses import ContentConfig, ContentLoss, VanillaGAN, pixel_loss


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
    def undecided(images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 1)

    images = torch.rand(3, 3, 4, 4)

    assert math.isclose(VanillaGAN().for_discriminator(undecided, images, images).loss, 2 * math.log(2), rel_tol=1e-6)
    assert math.isclose(VanillaGAN().for_generator(undecided, images, images), math.log(2), rel_tol=1e-6)


def test_the_discriminator_wants_high_logits_for_real_and_the_generator_for_fake():
    def brightness(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3), keepdim=True) * 10

    bright, dark = torch.ones(2, 3, 4, 4), -torch.ones(2, 3, 4, 4)
    gan = VanillaGAN()

    assert gan.for_discriminator(brightness, bright, dark).loss < gan.for_discriminator(brightness, dark, bright).loss
    assert gan.for_generator(brightness, dark, bright) < gan.for_generator(brightness, bright, dark)


def test_losses_are_float32_whatever_comes_in():
    half = torch.rand(1, 3, 4, 4).bfloat16()

    assert pixel_loss("l1", half, half).dtype == torch.float32
    assert ContentLoss(Same(), ContentConfig())(half, half).dtype == torch.float32
    assert VanillaGAN().for_generator(lambda x: x.mean(dim=1), half, half).dtype == torch.float32
