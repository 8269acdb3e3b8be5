import pytest
import torch
from torch import nn

from srgan_dist.models import SRResNetConfig


@pytest.mark.parametrize("interpolated_skip", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_stated_receptive_field_is_how_far_the_gradient_reaches(scale: int, interpolated_skip: bool):
    network = _alive(SRResNetConfig(blocks=2, channels=4, interpolated_skip=interpolated_skip).build(scale))
    stated = network.receptive_field
    side = 2 * stated + 9
    lr = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2

    network(lr)[:, :, middle * scale : (middle + 1) * scale, middle * scale : (middle + 1) * scale].sum().backward()

    assert lr.grad is not None
    reached = lr.grad.abs().sum(dim=(0, 1)).nonzero()
    assert int((reached - middle).abs().max()) == stated


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_stated_reconstruct_field_is_how_far_its_gradient_reaches(scale: int):
    network = _alive(SRResNetConfig(blocks=1, channels=4).build(scale))
    side = 2 * network.reconstruct_field + 5
    features = torch.rand(1, 4, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2

    sr = network.reconstruct(features, torch.rand(1, 3, side, side, dtype=torch.float64))
    sr[:, :, middle * scale : (middle + 1) * scale, middle * scale : (middle + 1) * scale].sum().backward()

    assert features.grad is not None
    reached = features.grad.abs().sum(dim=(0, 1)).nonzero()
    assert int((reached - middle).abs().max()) == network.reconstruct_field


def _alive(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for p in network.parameters():
        nn.init.uniform_(p, 0.1, 0.3)  # positive: nothing cancels
    return network.double().eval()
