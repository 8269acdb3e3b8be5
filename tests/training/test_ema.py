import pytest
import torch
from torch import nn

from srgan_dist.models import SRResNetConfig
from srgan_dist.training.ema import EMA


def test_the_average_of_a_constant_is_the_constant():
    network = nn.Linear(2, 2)
    ema = EMA(network, 0.9)

    for _ in range(5):
        ema.update()

    assert torch.equal(ema.module.weight, network.weight)


def test_the_average_follows_slowly():
    network = nn.Linear(1, 1)
    ema = EMA(network, 0.9)
    ema.updates = 10_000  # past the warm-up
    before = ema.module.weight.detach().clone()
    with torch.no_grad():
        network.weight += 1

    ema.update()

    torch.testing.assert_close(ema.module.weight, before + 0.1)


def test_decay_zero_is_a_copy():
    network = nn.BatchNorm2d(2)
    ema = EMA(network, 0.0)

    network(torch.rand(4, 2, 3, 3))
    ema.update()

    copied = ema.module.state_dict()
    assert all(torch.equal(t, copied[name]) for name, t in network.state_dict().items())


@pytest.mark.slow
def test_a_batchnorm_generators_average_evaluates_close_to_the_raw_network():
    torch.manual_seed(0)
    network = SRResNetConfig(blocks=2, channels=8).build(2).train()
    optimizer = torch.optim.Adam(network.parameters())
    ema = EMA(network, 0.9)
    for step in range(100):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / 100) ** 2  # the average lags while weights still move
        images = torch.rand(4, 3, 12, 12) * 0.3 + 0.6  # far from the statistics that BatchNorm starts with
        loss = (network(images) - nn.functional.interpolate(images, scale_factor=2)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update()

    fresh = torch.rand(4, 3, 12, 12) * 0.3 + 0.6
    raw, average = network.eval()(fresh), ema.module(fresh)
    stale = EMA(SRResNetConfig(blocks=2, channels=8).build(2), 0.9).module
    stale.load_state_dict({k: v for k, v in ema.module.state_dict().items() if "running" not in k}, strict=False)

    assert (raw - average).abs().mean() < 0.03
    assert (raw - stale(fresh)).abs().mean() > 0.1  # what averaging the parameters alone would give
