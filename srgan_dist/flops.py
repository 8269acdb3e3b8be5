"""What a step costs in arithmetic, and what devices can do: how much of the hardware a run uses."""

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from srgan_dist.data.reader import Pair
from srgan_dist.steps import Losses, Player, gan_step, pretrain_step

_PEAK_TFLOPS = {
    "H200": 989, "H100 NVL": 835, "H100 PCIe": 756, "H100": 989, "GH200": 989, "B200": 2250, "A100": 312, "A800": 312,
    "A40": 150, "A30": 165, "A10G": 70, "A10": 125, "L40S": 362, "L40": 181, "L4": 121, "V100": 125, "T4": 65,
    "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip
"""Dense, in bf16 (fp16 on the older ones) with sums in float32, as the maker's data sheets give it."""


def step_flops(generator: nn.Module, discriminator: nn.Module | None, losses: Losses, lr: Tensor, hr: Tensor) -> int:
    """Floating point operations of one step on such a batch; without a discriminator, of a pretraining step.

    Convolutions and matrix products, forward and backward, a multiplication and an addition counting as two. It is
    counted on copies without memory, so nothing is computed and the networks stay as they are.

    Args:
        lr: (B, 3, h, w) on the meta device; `hr` (B, 3, s*h, s*w) likewise.
    """
    one = _shadow(generator)
    with FlopCounterMode(display=False) as counter:
        if discriminator is None:
            pretrain_step(one, losses.pixel, [Pair(lr, hr)], Tensor.backward)
        else:
            content = copy.deepcopy(losses.content).to("meta") if losses.content else None
            terms = Losses(losses.pixel, content, losses.adversarial, losses.weights)
            gan_step(one, _shadow(discriminator), terms, [Pair(lr, hr)], Tensor.backward)
    return counter.get_total_flops()


def _shadow(network: nn.Module) -> Player:
    copied = copy.deepcopy(network).to("meta").train()
    nothing = torch.optim.SGD(copied.parameters())
    return Player(net=copied, raw=copied, optimizer=nothing, apply=lambda: None)


def peak_tflops(device: torch.device) -> float | None:
    """What the device does at most in half precision, in 10^12 operations a second; None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((float(peak) for known, peak in _PEAK_TFLOPS.items() if known in name), None)
