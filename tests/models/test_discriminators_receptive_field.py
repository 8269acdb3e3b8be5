import pytest
import torch
from torch import nn

from srgan_dist.models import CompactConfig, LightEDSRConfig, RRDBNetConfig, SRResNetConfig


@pytest.mark.slow
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


@pytest.mark.parametrize("scale", [2, 4])
def test_compact_states_how_far_the_gradient_reaches(scale: int):
    network = _alive(CompactConfig(convs=3, channels=4).build(scale))

    assert _reach(network, scale) == network.receptive_field


@pytest.mark.parametrize("scale", [2, 4])
def test_light_edsr_states_how_far_the_gradient_reaches(scale: int):
    network = _alive(LightEDSRConfig(blocks=2, channels=4).build(scale))

    assert _reach(network, scale) == network.receptive_field


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "unshuffle"), [(1, False), (2, False), (4, False), (8, False), (2, True), (1, True)])
def test_rrdbnet_states_at_least_how_far_the_gradient_reaches(scale: int, unshuffle: bool):
    config = RRDBNetConfig(blocks=1, channels=4, growth_channels=4, unshuffle=unshuffle)
    network = _alive(config.build(scale))

    reached = _reach(network, scale)

    assert network.receptive_field - 2 * network.fold < reached <= network.receptive_field


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_rrdbnets_features_are_seen_two_pixels_far(scale: int):
    network = _alive(RRDBNetConfig(blocks=1, channels=4, growth_channels=4).build(scale))
    features = torch.rand(1, 4, 11, 11, dtype=torch.float64, requires_grad=True)

    sr = network.reconstruct(features, features)
    sr[:, :, 5 * scale : 6 * scale, 5 * scale : 6 * scale].sum().backward()

    assert features.grad is not None
    assert int((features.grad.abs().sum(dim=(0, 1)).nonzero() - 5).abs().max()) <= network.reconstruct_field


def _reach(network: nn.Module, scale: int) -> int:
    """The furthest that an input pixel is from one of the block of output pixels it decides about."""
    middle = (network.receptive_field // 4 + 2) * 4
    lr = torch.rand(1, 3, 2 * middle + 4, 2 * middle + 4, dtype=torch.float64, requires_grad=True)
    furthest = 0
    for pixel in range(middle, middle + 4):  # folded pixels differ in how far they see
        place = slice(pixel * scale, (pixel + 1) * scale)
        (gradient,) = torch.autograd.grad(network(lr)[:, :, place, place].sum(), lr)
        furthest = max(furthest, int((gradient.abs().sum(dim=(0, 1)).nonzero() - pixel).abs().max()))
    return furthest


def _alive(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for p in network.parameters():
        nn.init.uniform_(p, 0.1, 0.3)  # positive: nothing cancels
    return network.double().eval()
