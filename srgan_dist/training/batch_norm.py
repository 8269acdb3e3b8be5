"""BatchNorm's running statistics as one tensor, so that a skipped step can take them back."""

import torch
from torch import Tensor, nn


class BatchNormStats:
    """The float buffers of a network, laid side by side in memory.

    A forward pass over a bad batch leaves NaN in the running averages, where it stays for ever; the weights
    are guarded by the optimizer, these are not. `snapshot` before the step and `restore` after it cost one small
    copy each, whatever the number of layers, and read nothing back.
    """

    def __init__(self, network: nn.Module) -> None:
        owners = [(m, name) for m in network.modules() for name, b in m.named_buffers(recurse=False) if _is_float(b)]
        buffers = [m.get_buffer(name) for m, name in owners]
        self._now = torch.cat([b.flatten() for b in buffers]) if buffers else torch.empty(0)
        self._kept = self._now.clone()
        for (module, name), view in zip(owners, self._now.split([b.numel() for b in buffers]), strict=True):
            persistent = name not in module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage]
            module.register_buffer(name, view.view_as(module.get_buffer(name)), persistent=persistent)

    def snapshot(self) -> None:
        """Remembers the statistics as they are."""
        self._kept.copy_(self._now)

    def restore(self, skipped: Tensor) -> None:
        """Takes the remembered ones where `skipped`, a bool scalar on the device, is true."""
        if len(self._now):
            torch.where(skipped, self._kept, self._now, out=self._now)


def _is_float(buffer: Tensor) -> bool:
    return buffer.is_floating_point()
