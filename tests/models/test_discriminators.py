import pytest
import torch

from srgan_dist.models import VGGDiscriminatorConfig


def test_the_papers_discriminator_has_23_56_million_parameters_at_crop_96():
    network = VGGDiscriminatorConfig().build(96)

    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 23.56


@pytest.mark.parametrize("hr_crop", [32, 60, 96, 128])
def test_the_dense_layer_adapts_to_the_crop(hr_crop: int):
    network = VGGDiscriminatorConfig(channels=2, dense=4).build(hr_crop)

    assert network(torch.rand(2, 3, hr_crop, hr_crop)).shape == (2, 1)


def test_logits_are_raw():
    network = VGGDiscriminatorConfig(channels=2, dense=4).build(32).eval()
    with torch.no_grad():
        network.classifier[-1].bias.fill_(-7)

    assert (network(torch.rand(2, 3, 32, 32)) < 0).all()
