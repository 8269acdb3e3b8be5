import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srgan_dist.models.vgg import LAYER_INDEX, VGGFeatures
from srgan_dist.training.losses import ContentConfig, ContentLoss, RelativisticGAN, VanillaGAN


class Maps(nn.Module):
    """Two layers of features that can be computed by hand."""

    def forward(self, images):
        return images * 3, images.square()


def image_pair():
    rng = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 8, 8, generator=rng), torch.rand(2, 3, 8, 8, generator=rng)


def test_the_default_content_loss_is_srgans_to_the_last_bit():
    sr, hr = image_pair()

    class One(nn.Module):
        def forward(self, images):
            return (images * 3,)

    loss = ContentLoss(One(), ContentConfig())(sr, hr)

    assert torch.equal(loss, F.mse_loss(sr * 3 / 12.75, hr * 3 / 12.75))


def test_several_layers_are_summed_by_weight_with_the_distance_asked_for():
    sr, hr = image_pair()
    config = ContentConfig(layers=(("conv1_2", 0.1), ("conv5_4", 2.0)), distance="l1", divisor=1.0)

    loss = ContentLoss(Maps(), config)(sr, hr)

    assert loss.item() == pytest.approx((0.1 * 3 * F.l1_loss(sr, hr) + 2 * F.l1_loss(sr**2, hr**2)).item(), rel=1e-6)


def vgg():
    """torchvision's vgg19().features, one channel wide."""
    layers = []
    for repeats in (2, 2, 4, 4, 4):
        for _ in range(repeats):
            layers += [nn.Conv2d(3 if not layers else 2, 2, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def test_conv_layers_are_before_the_activation_and_relu_layers_after_it():
    torch.manual_seed(0)
    features = vgg()
    images = torch.rand(1, 3, 32, 32)

    before, after = VGGFeatures(features, ["conv5_4", "relu5_4"])(images)

    assert (before < 0).any()
    assert torch.equal(after, before.relu())
    assert all(
        isinstance(features[i], nn.ReLU if name.startswith("relu") else nn.Conv2d)
        for name, i in LAYER_INDEX["vgg19"].items()
        if not name.startswith("pool")
    )


def test_layers_come_in_the_order_asked_for():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 32, 32)
    features = vgg()

    shallow, deep = VGGFeatures(features, ["conv1_2", "conv3_4"])(images)
    again_deep, again_shallow = VGGFeatures(features, ["conv3_4", "conv1_2"])(images)

    assert torch.equal(shallow, again_shallow)
    assert torch.equal(deep, again_deep)
    assert shallow.shape[-1] == 32
    assert deep.shape[-1] == 8


def test_relativistic_losses_are_the_papers_equations():
    real, fake = torch.randn(6), torch.randn(6)
    loss = RelativisticGAN().build(lambda mean: mean)

    def cross_entropy(logits, label):
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    d = (cross_entropy(real - fake.mean(), 1.0) + cross_entropy(fake - real.mean(), 0.0)) / 2
    g = (cross_entropy(real - fake.mean(), 0.0) + cross_entropy(fake - real.mean(), 1.0)) / 2

    assert loss.for_discriminator(real, fake).loss.item() == pytest.approx(d.item(), rel=1e-6)
    assert loss.for_generator(real, fake).item() == pytest.approx(g.item(), rel=1e-6)


def test_per_process_means_do_not_ask_the_other_processes():
    def never(mean):
        raise AssertionError("asked")

    real, fake = torch.randn(6), torch.randn(6)

    RelativisticGAN(mean="process").build(never).for_generator(real, fake)
    with pytest.raises(AssertionError):
        RelativisticGAN(mean="all").build(never).for_generator(real, fake)


def test_the_vanilla_loss_needs_nobody():
    assert VanillaGAN().build(lambda mean: mean) == VanillaGAN()


def test_the_relativistic_diagnostics_are_about_logits_less_the_other_kinds_mean():
    real, fake = torch.tensor([6.0, 0.5, -0.5, 6.0]), torch.tensor([4.0, -4.0, 5.0, -1.0])  # means 3 and 1

    told = RelativisticGAN().build(lambda mean: mean).for_discriminator(real, fake).diagnostics()

    # Relative logits: 5, -0.5, -1.5, 5 and 1, -7, 2, -4; the logits themselves would give an accuracy of 5/8.
    assert {n: t.item() for n, t in told.items()} == {"real_logits": 2.0, "fake_logits": -2.0, "accuracy": 0.5}
