import copy
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from srgan_dist.data.batch import Pair
from srgan_dist.distributed.accelerator import start
from srgan_dist.models.vgg import VGGFeatures
from srgan_dist.training import trainable
from srgan_dist.training.presets import preset
from srgan_dist.training.steps import Trainable


@pytest.mark.parametrize(
    ("name", "local_main", "reads"),
    [("srgan-x4", True, 1), ("srgan-x4", False, 0), ("srgan-mse-x4", True, 0), ("srresnet-x4", True, 0)],
)
def test_vgg_is_read_early_by_one_process_of_a_machine_and_only_where_it_is_needed(
    name: str, local_main: bool, reads: int, monkeypatch: pytest.MonkeyPatch
):
    read: list[Any] = []
    monkeypatch.setattr(trainable, "load_vgg", lambda *what: read.append(what))
    accelerator: Any = SimpleNamespace(is_local_main_process=local_main, local_main_process_first=nullcontext)

    trainable.load_vgg_early(preset(name), accelerator)

    assert len(read) == reads


def test_frozen_vgg_weights_are_kept_in_the_type_of_autocast_and_give_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    features = nn.Sequential(*(vgg19_like(n) for n in range(3)))
    images = torch.rand(2, 3, 16, 16)
    kept, cast = (VGGFeatures(copy.deepcopy(features), ["conv1_2"]) for _ in range(2))
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
    trainable = Trainable(net=net, raw=net, optimizer=optimizer, optimizer_step=optimizer.step)

    assert trainable.parameters is trainable.parameters
    assert [id(p) for p in trainable.parameters] == [id(p) for p in net.parameters()]


class DropPath(nn.Module):
    """A generator that draws numbers of its own, as SwinIR and HAT do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return nn.functional.pixel_shuffle(self.conv(lr), 2) * (torch.rand(len(lr), 1, 1, 1) > 0.5)


def test_what_networks_draw_themselves_depends_on_the_seed_and_the_crops_alone(monkeypatch: pytest.MonkeyPatch):
    def losses(seed: int, first: int) -> list[float]:
        config = replace(preset("quickstart"), seed=seed)
        monkeypatch.setattr(type(config.generator), "build", lambda *_: DropPath())
        networks = trainable.Networks(config, start("no"))
        images = (torch.rand(8, 3, n, n, generator=torch.Generator().manual_seed(0)) for n in (8, 16))
        batch = Pair(*images, np.arange(first, first + 8, dtype=np.uint64))
        torch.manual_seed(first)  # whatever was drawn before
        torch.rand(first % 7)
        return [float(networks.update([batch], 0.0, measure_gradient_shares=False)[0]["pixel"]) for _ in range(2)]

    one = losses(seed=0, first=8)
    assert one[0] == one[1]
    assert losses(seed=0, first=8) == one
    assert losses(seed=0, first=16)[0] != one[0]
    assert losses(seed=1, first=8)[0] != one[0]
