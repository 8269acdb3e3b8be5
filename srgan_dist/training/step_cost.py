"""The cost of an adversarial step relative to a pretraining step, for estimating the time left before the first one."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from srgan_dist.models.vgg import untrained_vgg
from srgan_dist.training.config import TrainConfig


def relative_step_cost(config: TrainConfig) -> float:
    """Return the multiply-adds of a step of the second phase, relative to one of the first; NaN if not known.

    A backward pass costs as much as a forward pass for the gradient of the inputs, and again for that of the weights:
    the generator costs 3 passes in both phases; the discriminator 2 passes forward, 4 backward, and 1 to reach the
    generator; VGG 2 forward and 1 to reach the generator.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            hr = torch.empty(1, 3, config.data.hr_crop, config.data.hr_crop)
            lr = torch.empty(1, 3, *(side // config.scale for side in hr.shape[2:]))
            generator = _multiply_adds(config.generator.build(config.scale), lr)
            added = 7 * _multiply_adds(config.discriminator.build(config.data.hr_crop), hr)
            if vgg := config.loss.vgg:
                added += 3 * _multiply_adds(untrained_vgg(vgg.network, [layer for layer, _ in vgg.layers]), hr)
    except Exception:  # a network of the user's own need not run on the meta device: the time left is only less exact
        return math.nan
    return 1 + added / (3 * generator)


def _multiply_adds(network: nn.Module, images: Tensor) -> float:
    """Return the multiply-adds of a forward pass in convolutions and linear layers."""
    counted = 0.0

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal counted
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            counted += out.numel() * module.weight[0].numel()

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(images)
    return counted
