"""BatchNorm's running statistics in one tensor, so that a skipped step can be undone."""

import torch
from torch import Tensor, nn


class BatchNormStats:
    """The floating-point buffers of a network, moved into one contiguous tensor.

    A forward pass on a bad batch would leave NaN in the running averages for good: the optimizer protects only the
    weights. `snapshot` before a step and `restore` after it each cost one small copy, whatever the number of layers,
    and do not synchronize with the device.
    """

    def __init__(self, network: nn.Module) -> None:
        owners = [(m, name) for m in network.modules() for name, b in m.named_buffers(recurse=False) if _is_float(b)]
        buffers = [m.get_buffer(name) for m, name in owners]
        self._current = torch.cat([b.flatten() for b in buffers]) if buffers else torch.empty(0)
        self._saved = self._current.clone()
        for (module, name), view in zip(owners, self._current.split([b.numel() for b in buffers]), strict=True):
            persistent = name not in module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage]
            module.register_buffer(name, view.view_as(module.get_buffer(name)), persistent=persistent)

    def snapshot(self) -> None:
        """Save the current statistics."""
        self._saved.copy_(self._current)

    def restore(self, skipped: Tensor) -> None:
        """Restore the saved statistics if `skipped`, a bool scalar on the device, is true."""
        if len(self._current):
            torch.where(skipped, self._saved, self._current, out=self._current)


def _is_float(buffer: Tensor) -> bool:
    return buffer.is_floating_point()
