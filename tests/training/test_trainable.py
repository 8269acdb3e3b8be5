import copy
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from srgan_dist.models.vgg import VGG19Features
from srgan_dist.training import trainable
from srgan_dist.training.presets import preset
from srgan_dist.training.steps import Player


@pytest.mark.parametrize(
    ("name", "local_main", "reads"),
    [("srgan-x4", True, 1), ("srgan-x4", False, 0), ("srgan-mse-x4", True, 0), ("srresnet-x4", True, 0)],
)
def test_vgg_is_read_early_by_one_process_of_a_machine_and_only_where_it_is_needed(
    name: str, local_main: bool, reads: int, monkeypatch: pytest.MonkeyPatch
):
    read: list[Any] = []
    monkeypatch.setattr(trainable, "load_vgg19", lambda *what: read.append(what))
    accelerator: Any = SimpleNamespace(is_local_main_process=local_main, local_main_process_first=nullcontext)

    trainable.load_vgg_early(preset(name), accelerator)

    assert len(read) == reads


def test_frozen_vgg_weights_are_kept_in_the_type_of_autocast_and_give_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    features = nn.Sequential(*(vgg19_like(n) for n in range(3)))
    images = torch.rand(2, 3, 16, 16)
    kept, cast = (VGG19Features(copy.deepcopy(features), ["conv1_2"]) for _ in range(2))
    kept.keep_in(torch.bfloat16)

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(kept(images)[0], cast(images)[0])

    assert {p.dtype for p in kept.parameters()} == {torch.bfloat16}


def vgg19_like(number: int) -> nn.Module:
    torch.manual_seed(number)
    return nn.ReLU(inplace=True) if number == 1 else nn.Conv2d(3, 3, 3, padding=1)


def test_parameters_of_a_network_are_collected_once():
    net = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    player = Player(net=net, raw=net, optimizer=optimizer, apply=optimizer.step)

    assert player.parameters is player.parameters
    assert [id(p) for p in player.parameters] == [id(p) for p in net.parameters()]
