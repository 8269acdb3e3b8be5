"""Exponential moving average of a network, including its buffers."""

import copy

import torch
from torch import Tensor, nn


class EMA:
    """Maintains `module`, the exponential moving average of the network `source` while that is trained.

    Not in the SRGAN paper; Real-ESRGAN Sec. 4.1 uses a decay of 0.999. BatchNorm's running statistics are averaged like
    the weights, because averaged weights do not work with the statistics of the raw network.
    """

    def __init__(self, source: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(source).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        # Collected once: traversing a network's state takes longer than averaging it.
        self._floats = _tensors(self.module, floats=True), _tensors(source, floats=True)
        self._integers = _tensors(self.module, floats=False), _tensors(source, floats=False)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average toward the network; faster in the first steps, to forget the initial weights soon."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        torch._foreach_lerp_(*self._floats, 1 - decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        if self._integers[0]:
            torch._foreach_copy_(*self._integers)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def _tensors(module: nn.Module, floats: bool) -> list[Tensor]:
    """Return parameters and buffers by reference; `load_state_dict` writes into the same tensors."""
    return [t for t in module.state_dict().values() if t.is_floating_point() == floats]
