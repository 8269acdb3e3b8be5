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


def test_the_first_updates_are_quicker_and_then_the_decay_holds():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    young, held = EMA(network, 0.999), EMA(network, 0.15)
    averages: list[list[float]] = []

    for value in (1.0, 2.0, 0.0):
        nn.init.constant_(network.weight, value)
        young.update()
        held.update()
        averages.append([young.module.weight.item(), held.module.weight.item()])

    # Decays of 1/10, 2/11 and 3/12, or 0.15 from the second on:
    # 0.9 * 1, 2/11 * 0.9 + 9/11 * 2 = 1.8, 3/12 * 1.8; or 0.9 * 1, 0.15 * 0.9 + 0.85 * 2, 0.15 * 1.835.
    wanted = [[0.9, 0.9], [1.8, 1.835], [0.45, 0.27525]]
    for got, by_hand in zip(averages, wanted, strict=True):
        assert got == pytest.approx(by_hand, rel=1e-6)  # float32


def test_running_statistics_are_averaged_and_counts_are_copied():
    network = nn.BatchNorm2d(1)
    ema = EMA(network, 0.999)

    network(torch.full((1, 1, 2, 2), 20.0))  # momentum 0.1: the running mean becomes 2
    ema.update()
    network(torch.full((1, 1, 2, 2), 20.0))
    ema.update()

    assert ema.module.running_mean.item() == pytest.approx(2 / 11 * 0.9 * 2 + 9 / 11 * 3.8, rel=1e-6)  # float32
    assert ema.module.num_batches_tracked.item() == 2


def test_the_average_evaluates_and_does_not_learn_while_the_network_goes_on():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)).train()

    average = EMA(network, 0.9).module

    assert not any(m.training for m in average.modules())
    assert not any(p.requires_grad for p in average.parameters())
    assert all(m.training for m in network.modules())
    assert all(p.requires_grad for p in network.parameters())


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
