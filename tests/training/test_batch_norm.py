import copy

import torch
from torch import nn

from srgan_dist.training.batch_norm import BatchNormStats


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2)))


def test_a_skipped_steps_statistics_are_taken_back():
    net = network()
    statistics = BatchNormStats(net)
    net(torch.rand(2, 3, 8, 8))
    before = copy.deepcopy(net.state_dict())

    statistics.snapshot()
    net(torch.full((2, 3, 8, 8), float("nan")))
    statistics.restore(torch.tensor(True))

    floats = {k: v for k, v in net.state_dict().items() if v.is_floating_point()}
    assert all(torch.equal(v, before[k]) for k, v in floats.items())


def test_a_good_steps_statistics_stay():
    net, plain = network(), network()
    plain.load_state_dict(net.state_dict())
    statistics = BatchNormStats(net)
    images = torch.rand(2, 3, 8, 8)

    statistics.snapshot()
    net(images)
    statistics.restore(torch.tensor(False))
    plain(images)

    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in net.state_dict().items())


def test_loading_weights_keeps_the_view():
    net = network()
    statistics = BatchNormStats(net)
    net.load_state_dict(network().state_dict())
    statistics.snapshot()
    net(torch.rand(2, 3, 8, 8))

    statistics.restore(torch.tensor(True))

    assert torch.equal(net[1].running_mean, torch.zeros(2))


def test_buffers_that_are_not_saved_stay_so():
    net = network()
    net.register_buffer("mask", torch.ones(3), persistent=False)
    names = list(net.state_dict())

    BatchNormStats(net)

    assert list(net.state_dict()) == names
    assert torch.equal(net.get_buffer("mask"), torch.ones(3))
