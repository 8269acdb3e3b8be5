"""The optimizers of the networks, as fused kernels. A new optimizer is a class here and a member of the union."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class AdamConfig:
    """Adam (Kingma and Ba 2015), as in the SRGAN, ESRGAN and Real-ESRGAN papers."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the running means of the gradient and of its square."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        """Return a fused Adam for float32 parameters on one device. Its learning rate is set at each training step."""
        kind = QuickStartAdam if can_skip_compiler_import() else torch.optim.Adam
        return kind(parameters, betas=self.betas, fused=True)


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019). Not in the papers; common for transformers."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the running means of the gradient and of its square."""

    weight_decay: float = 1e-2
    """Each step multiplies the weights by 1 - learning rate * weight decay."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
        """Return a fused AdamW for float32 parameters on one device. Its learning rate is set at each training step."""
        return torch.optim.AdamW(parameters, betas=self.betas, weight_decay=self.weight_decay, fused=True)


OptimizerConfig = AdamConfig | AdamWConfig


_KERNELS = ("_fused_adam_", "_foreach_add_", "_foreach_sub_")
_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def can_skip_compiler_import() -> bool:
    """Return whether this version of torch has the internals that `QuickStartAdam` calls."""
    return all(hasattr(torch, name) for name in _KERNELS) and hasattr(torch.optim.Adam, "_init_group")


def _unwrapped(name: str) -> Callable[..., Any]:
    """Return a method of torch's optimizers without the wrapper that imports the compiler first."""
    method = getattr(Optimizer, name)
    return getattr(method, "__wrapped__", method)


class QuickStartAdam(torch.optim.Adam):
    """A bit-identical replacement of `torch.optim.Adam(fused=True)` that does not import torch's compiler.

    torch's own Adam imports the compiler in its constructor and in its first step. This takes as long as importing
    torch itself, a third of the time to the first training step. This class calls private functions of torch, so
    `AdamConfig.build` uses torch's own class if `can_skip_compiler_import` returns False.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update the parameters that have a gradient. If `self.found_inf` is 1, weights and state are not changed."""
        del closure
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            self._update_group(group, found_inf)

    def _update_group(self, group: dict[str, Any], found_inf: Tensor | None) -> None:
        lists: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
        self._init_group(group, *lists)  # weights, gradients, two moments, amsgrad's maxima (unused), step counts
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

    add_param_group, zero_grad, state_dict, load_state_dict = map(_unwrapped, _METHODS)
