import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from srgan_dist.training.flops import MetaStep, relative_step_cost, step_flops
from srgan_dist.training.presets import preset
from srgan_dist.training.steps import Losses


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "srgan-mse-x4"])
def test_the_estimate_agrees_with_the_operations_that_are_counted(name: str):
    config = preset(name)
    with torch.device("meta"):
        generator = config.generator.build(config.scale)
        discriminator = config.discriminator.build(config.data.hr_crop)
    losses = Losses(
        config.loss.pixel, None, config.loss.adversarial.build(lambda mean: mean), config.loss.effective_weights
    )
    size = (2, config.data.hr_crop, config.scale)
    counted = [step_flops(MetaStep(generator, d, losses), *size) for d in (None, discriminator)]

    assert relative_step_cost(config) == pytest.approx(counted[1] / counted[0], rel=0.02)


def test_vgg_is_counted():
    config = preset("srgan-x4")
    without = replace(config, loss=replace(config.loss, content=None))

    assert relative_step_cost(config) > 1.5 * relative_step_cost(without)


def test_a_network_that_cannot_be_counted_is_not_known():
    class Own(nn.Module):
        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            return lr * lr.sum().item()

    config: Any = SimpleNamespace(
        data=SimpleNamespace(hr_crop=32), scale=2, generator=SimpleNamespace(build=lambda _: Own())
    )

    assert math.isnan(relative_step_cost(config))


def test_the_random_numbers_of_the_training_are_left_alone():
    before = torch.random.get_rng_state()

    relative_step_cost(preset("quickstart"))

    assert torch.equal(before, torch.random.get_rng_state())
