"""Single-image networks that spandrel supports, as generators. Needs the optional extra `spandrel`."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srgan_dist.models.state_dicts import of_generator
from srgan_dist.models.weight_files import read_model_file

_PREFIX = "network."
_WINDOWS = frozenset({"window_size", "win_size", "split_size", "stripe_size", "patch_size"})
"""Attributes in which the architectures store the sides of their attention windows."""
_MAX_WINDOW = 128
"""Larger values are sizes of training images, not of windows."""


@dataclass(frozen=True, kw_only=True)
class SpandrelConfig:
    """A model file that determines the architecture, its size and the initial weights."""

    file: Path
    """A .pth, .pt, .ckpt or .safetensors file of any super-resolution architecture that spandrel supports."""

    def build(self, scale: int) -> "ForeignNetwork":
        """Return the file's network with its weights, ready for fine-tuning.

        Raises:
            ValueError: If the file does not exist, spandrel is not installed or does not support the file, or the
                network has another scale.
        """
        if not self.file.is_file():
            raise ValueError(f"generator.file={self.file}: no such file")
        return ForeignNetwork(_load_descriptor(self.file), scale, str(self.file))

    def rebuild(self, scale: int, state: Mapping[str, Tensor]) -> "ForeignNetwork":
        """Return the network that `state` belongs to; does not read `file`, which may no longer exist.

        Raises:
            ValueError: If spandrel is not installed, or the network has another scale.
        """
        loader, _ = _import_spandrel()
        try:
            descriptor = loader.load_from_state_dict(dict(state))
        except Exception as error:  # each architecture raises its own types
            raise ValueError(f"the exported weights: spandrel cannot open them ({error})") from error
        return ForeignNetwork(descriptor, scale, "the exported weights")


def _load_descriptor(file: Path) -> Any:
    loader, unsupported = _import_spandrel()
    try:
        return loader.load_from_state_dict(of_generator(read_model_file(file).weights))
    except unsupported:
        raise ValueError(f"{file}: spandrel does not support this architecture") from None
    except Exception as error:  # torch, pickle, safetensors and the architectures raise many types
        raise ValueError(f"{file}: spandrel cannot open it ({error})") from error


class ForeignNetwork(nn.Module):
    """Maps lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w), RGB in [0, 1].

    The input is padded to the sizes that the architecture requires, and the output is cropped accordingly. `grid` is
    the common multiple of the sides of its attention windows, or None if it states none. The state dict has the
    architecture's own parameter names, without a prefix for this wrapper.

    Args:
        descriptor: spandrel's `ImageModelDescriptor`.
        scale: The scale that the run is configured for.
        name: What error messages call the network, usually its file.

    Raises:
        ValueError: If the network does not map RGB to RGB at this scale.
    """

    def __init__(self, descriptor: Any, scale: int, name: str) -> None:
        super().__init__()
        if descriptor.scale != scale:
            raise ValueError(f"{name}: {descriptor.architecture.name} at x{descriptor.scale}, but scale={scale}")
        self.scale = scale
        self.network = descriptor.model.train().requires_grad_(True)
        size = descriptor.size_requirements
        windows = attention_windows(self.network)
        # An architecture that reflects the border up to the next window needs at least one complete window.
        self.minimum, self.multiple = max(1, size.minimum, *windows), max(1, size.multiple_of)
        self.square = bool(size.square)
        self.grid = lcm(self.multiple, *windows) if windows else None
        self.register_state_dict_post_hook(_remove_prefix)
        self.register_load_state_dict_pre_hook(_add_prefix)
        self._check_output(f"{name} ({descriptor.architecture.name})")

    def forward(self, lr: Tensor) -> Tensor:
        h, w = lr.shape[2:]
        height, width = (self._padded(n) for n in ((max(h, w),) * 2 if self.square else (h, w)))
        bottom, right = height - h, width - w
        padded = F.pad(lr, (0, right, 0, bottom), mode="replicate") if bottom or right else lr
        return self.network(padded)[:, :, : h * self.scale, : w * self.scale]

    def _padded(self, side: int) -> int:
        return -(-max(side, self.minimum) // self.multiple) * self.multiple

    @torch.no_grad()
    def _check_output(self, name: str) -> None:
        self.eval()
        sr: Any = self.network(torch.zeros(1, 3, *[self._padded(16)] * 2))
        self.train()
        if not isinstance(sr, Tensor) or sr.shape[1] != 3:
            raise ValueError(f"{name} does not return a single RGB image, so it cannot be trained here")


def attention_windows(network: nn.Module) -> list[int]:
    """Return the sides, in pixels, of the windows that a network divides its input into; empty if it states none."""
    found: set[int] = set()
    for module in network.modules():
        for name in _WINDOWS & vars(module).keys():
            value = vars(module)[name]
            sides = value if isinstance(value, list | tuple) else [value]
            found |= {n for n in sides if isinstance(n, int) and 1 < n <= _MAX_WINDOW}
    return sorted(found)


def _remove_prefix(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: object) -> None:
    del module, metadata
    for key in [k for k in state if k.startswith(prefix + _PREFIX)]:
        state[prefix + key.removeprefix(prefix + _PREFIX)] = state.pop(key)


def _add_prefix(module: nn.Module, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
    del module, rest
    for key in [k for k in state if k.startswith(prefix)]:
        state[prefix + _PREFIX + key.removeprefix(prefix)] = state.pop(key)


def _import_spandrel() -> tuple[Any, type[Exception]]:
    try:
        import spandrel  # an optional extra that takes seconds to import
    except ImportError:
        raise ValueError(
            "generator.file needs spandrel, which is not installed: pip install 'srgan-dist[spandrel]'"
        ) from None
    return spandrel.ModelLoader(device="cpu"), spandrel.UnsupportedModelError
