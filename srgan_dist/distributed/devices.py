"""The kind of device that a process runs on: CUDA, Apple's GPU where it computes what the CPU does, or the CPU."""

import logging
import os
from typing import Literal

import torch
from torch import nn

log = logging.getLogger("srgan_dist")

DeviceKind = Literal["cuda", "mps", "cpu"]
_TOLERANCE = 1e-3
"""Largest relative difference of gradients between two devices in float32."""


def choose_device_kind() -> DeviceKind:
    """Return the kind of device to run on.

    Apple's GPU is tried first: it is not used, with a line in the log, if it lacks an operation or its results differ
    from the CPU's. Several processes share no such GPU, and `ACCELERATE_USE_CPU=true` asks for the CPU.
    """
    if torch.cuda.is_available():
        return "cuda"
    asks_for_cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("true", "1")
    if not torch.backends.mps.is_available() or asks_for_cpu or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "cpu"
    reason = find_difference(torch.device("mps"))
    if reason:
        log.warning("Apple's GPU is not used: %s; running on the CPU", reason)
    return "cpu" if reason else "mps"


def find_difference(device: torch.device) -> str:
    """Return how a training step of a small network differs from the CPU's on a device; empty if it does not."""
    try:
        expected, found = _gradients(torch.device("cpu")), _gradients(device)
    except (NotImplementedError, RuntimeError, TypeError) as error:
        return f"it failed in a small test ({str(error).strip().splitlines()[0]})"
    worst = max(
        float((a - b).abs().max() / a.abs().max().clamp(min=1e-6)) for a, b in zip(expected, found, strict=True)
    )
    return "" if worst <= _TOLERANCE else f"its results in a small test differ from the CPU's by {100 * worst:.2g}%"


def _gradients(device: torch.device) -> list[torch.Tensor]:
    """Return the output and the gradients of a small super-resolution network on a fixed input, on the CPU."""
    rng = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)
    )
    for parameter in network.parameters():
        parameter.data.copy_(torch.rand(parameter.shape, generator=rng) - 0.5)
    image = torch.randint(0, 256, (2, 16, 16, 3), generator=rng, dtype=torch.uint8)
    network = network.to(device).to(memory_format=torch.channels_last)
    lr = image.to(device).permute(0, 3, 1, 2).float() / 255
    sr = network(lr) + nn.functional.interpolate(lr, scale_factor=2, mode="bicubic", align_corners=False)
    sr.square().mean().backward()
    return [sr.detach().cpu(), *(p.grad.cpu() for p in network.parameters() if p.grad is not None)]
