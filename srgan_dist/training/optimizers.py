"""Adam as one fused kernel, without what torch loads for compiled optimizers."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def _bare(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of torch's without the wrapper that imports the compiler first."""
    return getattr(method, "__wrapped__", method)


class FusedAdam(torch.optim.Adam):
    """`torch.optim.Adam(fused=True)` to the last bit, for parameters of one dtype on one device.

    torch's own imports the compiler when it is built and at each step, which takes as long as torch itself: a third of
    the time to the first step. A `found_inf` of 1 leaves weights and state alone, as in torch's own.

    Args:
        parameters: float32, all on one device.
        betas: decay of the two moments.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], betas: tuple[float, float]) -> None:
        super().__init__(parameters, betas=betas, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Moves the parameters that have a gradient."""
        del closure
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            self._move(group, found_inf)

    def _move(self, group: dict[str, Any], found_inf: Tensor | None) -> None:
        lists: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
        self._init_group(group, *lists)  # weights, gradients, two moments, (none with amsgrad), counts
        weights, *_, counts = lists
        if not weights:
            return
        beta1, beta2 = group["betas"]
        torch._foreach_add_(counts, 1)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        torch._fused_adam_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            *lists, amsgrad=False, lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=group["weight_decay"],
            eps=group["eps"], maximize=False, grad_scale=getattr(self, "grad_scale", None), found_inf=found_inf,
        )  # fmt: skip
        if found_inf is not None:
            torch._foreach_sub_(counts, [found_inf] * len(counts))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    add_param_group = _bare(Optimizer.add_param_group)
    zero_grad = _bare(Optimizer.zero_grad)
    state_dict = _bare(Optimizer.state_dict)
    load_state_dict = _bare(Optimizer.load_state_dict)
