"""Any single-image network that spandrel knows, as the generator. The optional extra `spandrel`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PREFIX = "network."


@dataclass(frozen=True, kw_only=True)
class SpandrelConfig:
    """A model file decides architecture, size and first weights."""

    file: Path
    """The file: .pth, .pt, .ckpt or .safetensors of any super-resolution architecture that spandrel opens."""

    def build(self, scale: int) -> "ForeignNetwork":
        """The file's network, to be trained further.

        Raises:
            ValueError: spandrel is not installed or does not know the file, or the scale is another.
        """
        if not self.file.is_file():
            raise ValueError(f"generator.file={self.file}: there is no such file")
        return ForeignNetwork(_descriptor(self.file), scale, str(self.file))

    def rebuild(self, scale: int, state: Mapping[str, Tensor]) -> "ForeignNetwork":
        """The network whose weights these are; `file` may be gone by now."""
        loader, _ = _spandrel()
        return ForeignNetwork(loader.load_from_state_dict(dict(state)), scale, "the exported weights")


def _descriptor(file: Path) -> Any:
    loader, unsupported = _spandrel()
    try:
        return loader.load_from_file(file)
    except unsupported:
        raise ValueError(f"{file}: spandrel does not know this architecture") from None
    except Exception as error:  # torch, pickle, safetensors and the architectures raise all kinds
        raise ValueError(f"{file}: spandrel cannot open it ({error})") from error


class ForeignNetwork(nn.Module):
    """Maps lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w), RGB in [0, 1], padded as the architecture needs it.

    Its state dict has the architecture's own names, as if the wrapper were not there.

    Raises:
        ValueError: the network is not one from RGB to RGB at this scale.
    """

    def __init__(self, descriptor: Any, scale: int, name: str) -> None:
        super().__init__()
        if descriptor.scale != scale:
            raise ValueError(f"{name}: {descriptor.architecture.name} at x{descriptor.scale}, but scale={scale}")
        self.scale = scale
        self.network = descriptor.model.train().requires_grad_(True)
        size = descriptor.size_requirements
        self.minimum, self.multiple = max(1, size.minimum), max(1, size.multiple_of)
        self.register_state_dict_post_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)
        self._try_out(f"{name} ({descriptor.architecture.name})")

    def forward(self, lr: Tensor) -> Tensor:
        h, w = lr.shape[2:]
        missing = [max(self.minimum, -(-n // self.multiple) * self.multiple) - n for n in (h, w)]
        padded = F.pad(lr, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else lr
        return self.network(padded)[:, :, : h * self.scale, : w * self.scale]

    @torch.no_grad()
    def _try_out(self, name: str) -> None:
        self.eval()
        sr: Any = self.network(torch.zeros(1, 3, *[-(-max(self.minimum, 16) // self.multiple) * self.multiple] * 2))
        self.train()
        if not isinstance(sr, Tensor) or sr.shape[1] != 3:
            raise ValueError(f"{name} gives something else than one RGB image, and cannot be trained here")


def _without_prefix(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: object) -> None:
    del module, metadata
    for key in [k for k in state if k.startswith(prefix + _PREFIX)]:
        state[prefix + key.removeprefix(prefix + _PREFIX)] = state.pop(key)


def _with_prefix(module: nn.Module, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
    del module, rest
    for key in [k for k in state if k.startswith(prefix)]:
        state[prefix + _PREFIX + key.removeprefix(prefix)] = state.pop(key)


def _spandrel() -> tuple[Any, type[Exception]]:
    try:
        import spandrel  # seconds of importing, and an extra
    except ImportError:
        raise ValueError(
            "generator.file needs spandrel, which is not installed: pip install 'srgan-dist[spandrel]'"
        ) from None
    return spandrel.ModelLoader(device="cpu"), spandrel.UnsupportedModelError
