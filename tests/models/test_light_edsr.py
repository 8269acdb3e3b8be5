import torch

from srgan_dist.models import LightEDSRConfig, SRResNetConfig
from srgan_dist.models.srresnet import interpolate_bicubic


def test_it_starts_near_bicubic():
    torch.manual_seed(0)
    lr = torch.rand(1, 3, 24, 24)

    difference = LightEDSRConfig().build(4)(lr) - interpolate_bicubic(lr, 4)

    assert 0 < difference.abs().mean() < 0.02


def test_its_published_names_and_size():
    network = LightEDSRConfig().build(4)

    assert sum(p.numel() for p in network.parameters()) == 620_336
    assert {"head.weight", "trunk.7.conv1.weight", "trunk.7.conv2.bias", "tail.bias"} <= network.state_dict().keys()
    assert not {"head.weight", "trunk.0.conv1.weight"} & SRResNetConfig(blocks=1).build(4).state_dict().keys()
