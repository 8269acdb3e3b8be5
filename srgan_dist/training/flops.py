"""What a step costs, counted on networks without memory, and what devices can do."""

import copy
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from srgan_dist.data.batch import Pair
from srgan_dist.training.steps import Losses, Trainable, gan_step, pretrain_step

_PEAK_TFLOPS = {
    "H200": 989, "H100 NVL": 835, "H100 PCIe": 756, "H100": 989, "GH200": 989, "GB200": 2450, "B200": 2250, "A100": 312,
    "A800": 312, "A40": 150, "A30": 165, "A10G": 70, "A10": 125, "L40S": 362, "L40": 181, "L4": 121, "V100": 125,
    "T4": 65, "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip
"""Dense, in bf16 (fp16 on the older ones) with sums in float32, as the maker's data sheets give it."""


@dataclass(frozen=True)
class MetaStep:
    """The networks of a step as copies without memory: a step of them computes nothing, and can be counted.

    Without a discriminator it is a pretraining step. The originals stay as they are.
    """

    generator: nn.Module
    discriminator: nn.Module | None
    losses: Losses

    def step(self, crops: int, hr_crop: int, scale: int, dtype: torch.dtype = torch.float32) -> None:
        """One step on `crops` crops of `hr_crop` HR pixels, as if everything were of one dtype."""
        lr, hr = (torch.empty(crops, 3, n, n, dtype=dtype, device="meta") for n in (hr_crop // scale, hr_crop))
        one = _trainable(self.generator, dtype)
        if self.discriminator is None:
            pretrain_step(one, self.losses.pixel, [Pair(lr, hr)], Tensor.backward)
            return
        content = _meta_copy(self.losses.content, dtype) if self.losses.content else None
        losses = Losses(self.losses.pixel, content, self.losses.adversarial, self.losses.weights)  # pyright: ignore
        gan_step(one, _trainable(self.discriminator, dtype), losses, [Pair(lr, hr)], Tensor.backward)


def step_flops(meta_step: MetaStep, crops: int, hr_crop: int, scale: int) -> int:
    """Floating point operations of one step: convolutions and matrix products, forward and backward.

    A multiplication and an addition count as two.
    """
    with FlopCounterMode(display=False) as counter:
        meta_step.step(crops, hr_crop, scale)
    return counter.get_total_flops()


def step_bytes(meta_step: MetaStep, crops: int, hr_crop: int, scale: int, dtype: torch.dtype) -> int:
    """The most bytes that one step holds at a time for its backward passes, the weights themselves left out."""
    held = SavedTensorMemory()
    with saved_tensors_hooks(held.pack, held.unpack):
        meta_step.step(crops, hr_crop, scale, dtype)
    return held.peak


class SavedTensorMemory:
    """Counts the bytes of tensors that autograd keeps; one that several operations keep counts once."""

    def __init__(self) -> None:
        self._times: Counter[int] = Counter()
        self._now, self.peak = 0, 0

    def pack(self, tensor: Tensor) -> "_SavedTensor | Tensor":
        """Notes a tensor that is kept."""
        if isinstance(tensor, nn.Parameter):
            return tensor
        storage = tensor.untyped_storage()
        kept = _SavedTensor(tensor, storage._cdata, storage.nbytes(), self)  # pyright: ignore[reportPrivateUsage]
        self._times[kept.key] += 1
        if self._times[kept.key] == 1:
            self._now += kept.size
            self.peak = max(self.peak, self._now)
        return kept

    def unpack(self, kept: "_SavedTensor | Tensor") -> Tensor:
        """The tensor back."""
        return kept.tensor if isinstance(kept, _SavedTensor) else kept

    def release(self, key: int, size: int) -> None:
        """One operation needs it no more."""
        self._times[key] -= 1
        self._now -= 0 if self._times[key] else size


@dataclass(frozen=True, eq=False)
class _SavedTensor:
    tensor: Tensor
    key: int
    size: int
    owner: SavedTensorMemory

    def __del__(self) -> None:
        self.owner.release(self.key, self.size)


def state_bytes(trained: Iterable[nn.Module], generator: nn.Module, features: nn.Module | None) -> int:
    """Bytes of what stays from step to step, in float32: weights, gradients, Adam's two moments, average, VGG."""
    sizes = sum(p.numel() for network in trained for p in network.parameters()) * 4
    sizes += sum(p.numel() for p in generator.parameters())
    sizes += sum(p.numel() for p in features.parameters()) if features else 0
    return 4 * sizes


def _trainable(network: nn.Module, dtype: torch.dtype) -> Trainable:
    copied = _meta_copy(network, dtype).train()
    for module in copied.modules():
        if isinstance(module, nn.SyncBatchNorm):  # refuses all but CUDA tensors; it costs what a plain one does
            module.__class__ = nn.BatchNorm2d  # pyright: ignore[reportAttributeAccessIssue]
    nothing = torch.optim.SGD(copied.parameters())
    return Trainable(net=copied, raw=copied, optimizer=nothing, optimizer_step=lambda: None)


def _meta_copy(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network on the meta device, without a copy of its tensors in between."""
    ghosts: dict[int, Any] = {}
    for module in network.modules():
        # Spectral normalization keeps its weight as a plain attribute, which cannot be copied otherwise.
        for tensor in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):  # pyright: ignore[reportPrivateUsage]
            if isinstance(tensor, Tensor):
                ghosts[id(tensor)] = _meta_tensor(tensor, dtype)
    return copy.deepcopy(network, ghosts)


def _meta_tensor(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", dtype=dtype if tensor.is_floating_point() else tensor.dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def peak_tflops(device: torch.device) -> float | None:
    """What the device does at most in half precision, in 10^12 operations a second; None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    found = (peak for known, peak in _PEAK_TFLOPS.items() if re.search(rf"\b{known}\b", name))  # an A4000 is no A40
    return next((float(peak) for peak in found), None)
