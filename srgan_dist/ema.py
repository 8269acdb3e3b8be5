"""Exponential moving average of a network, buffers included."""

import copy

import torch
from torch import Tensor, nn


class EMA:
    """Keeps `module`, the moving average of a network that is being trained.

    Not in the SRGAN paper; Real-ESRGAN Sec. 4.1 uses decay 0.999. BatchNorm's running statistics are
    averaged like the weights: averaged weights with the raw network's statistics are a broken network.
    """

    def __init__(self, source: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(source).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Moves towards `source`; early on faster, so that the random start does not linger."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        mine, theirs = _floats(self.module), _floats(source)
        torch._foreach_lerp_(mine, theirs, 1 - decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        for own, other in zip(_integers(self.module), _integers(source), strict=True):
            own.copy_(other)


def _floats(module: nn.Module) -> list[Tensor]:
    return [t for t in module.state_dict().values() if t.is_floating_point()]


def _integers(module: nn.Module) -> list[Tensor]:
    return [t for t in module.state_dict().values() if not t.is_floating_point()]
