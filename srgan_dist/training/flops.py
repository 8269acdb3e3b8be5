"""Operations and memory of a training step, counted on meta tensors, and the peak performance of GPUs."""

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
"""Dense bf16 performance (fp16 on older cards) with float32 accumulation, from NVIDIA's data sheets."""


@dataclass(frozen=True)
class MetaStep:
    """A training step on copies of the networks on the meta device: it computes nothing, but can be counted.

    Without a discriminator it is a pretraining step. The original networks are left unchanged.
    """

    generator: nn.Module
    discriminator: nn.Module | None
    losses: Losses

    def step(self, crops: int, hr_crop: int, scale: int, dtype: torch.dtype = torch.float32) -> None:
        """Run one step on `crops` crops with a side of `hr_crop` HR pixels, with everything in one dtype."""
        lr, hr = (torch.empty(crops, 3, n, n, dtype=dtype, device="meta") for n in (hr_crop // scale, hr_crop))
        generator = _trainable(self.generator, dtype)
        if self.discriminator is None:
            pretrain_step(generator, self.losses.pixel, [Pair(lr, hr)], Tensor.backward)
            return
        content = _meta_copy(self.losses.content, dtype) if self.losses.content else None
        losses = Losses(self.losses.pixel, content, self.losses.adversarial, self.losses.weights)  # pyright: ignore
        gan_step(generator, _trainable(self.discriminator, dtype), losses, [Pair(lr, hr)], Tensor.backward)


def step_flops(meta_step: MetaStep, crops: int, hr_crop: int, scale: int) -> int:
    """Return the floating-point operations of one step: convolutions and matrix products, forward and backward.

    A multiply-add counts as two operations.
    """
    with FlopCounterMode(display=False) as counter:
        meta_step.step(crops, hr_crop, scale)
    return counter.get_total_flops()


def step_bytes(meta_step: MetaStep, crops: int, hr_crop: int, scale: int, dtype: torch.dtype) -> int:
    """Return the peak number of bytes that autograd saves for backward during one step, without the weights."""
    memory = SavedTensorMemory()
    with saved_tensors_hooks(memory.pack, memory.unpack):
        meta_step.step(crops, hr_crop, scale, dtype)
    return memory.peak


class SavedTensorMemory:
    """Counts the bytes of tensors that autograd saves; a tensor that several operations save counts once."""

    def __init__(self) -> None:
        self._references: Counter[int] = Counter()
        self._current, self.peak = 0, 0

    def pack(self, tensor: Tensor) -> "_SavedTensor | Tensor":
        """Count a tensor that autograd saves; a saved-tensors hook."""
        if isinstance(tensor, nn.Parameter):
            return tensor
        storage = tensor.untyped_storage()
        saved = _SavedTensor(tensor, storage._cdata, storage.nbytes(), self)  # pyright: ignore[reportPrivateUsage]
        self._references[saved.key] += 1
        if self._references[saved.key] == 1:
            self._current += saved.size
            self.peak = max(self.peak, self._current)
        return saved

    def unpack(self, saved: "_SavedTensor | Tensor") -> Tensor:
        """Return the tensor that was packed; a saved-tensors hook."""
        return saved.tensor if isinstance(saved, _SavedTensor) else saved

    def release(self, key: int, size: int) -> None:
        """Drop one reference to a storage."""
        self._references[key] -= 1
        self._current -= 0 if self._references[key] else size


@dataclass(frozen=True, eq=False)
class _SavedTensor:
    tensor: Tensor
    key: int
    size: int
    owner: SavedTensorMemory

    def __del__(self) -> None:
        self.owner.release(self.key, self.size)


def state_bytes(trained: Iterable[nn.Module], generator: nn.Module, features: nn.Module | None) -> int:
    """Return the bytes that persist between steps in float32: weights, gradients, Adam's moments, EMA and VGG."""
    sizes = sum(p.numel() for network in trained for p in network.parameters()) * 4
    sizes += sum(p.numel() for p in generator.parameters())
    sizes += sum(p.numel() for p in features.parameters()) if features else 0
    return 4 * sizes


def _trainable(network: nn.Module, dtype: torch.dtype) -> Trainable:
    copied = _meta_copy(network, dtype).train()
    for module in copied.modules():
        if isinstance(module, nn.SyncBatchNorm):  # it accepts only CUDA tensors, and costs as much as a plain BatchNorm
            module.__class__ = nn.BatchNorm2d  # pyright: ignore[reportAttributeAccessIssue]
    unused = torch.optim.SGD(copied.parameters())
    return Trainable(net=copied, raw=copied, optimizer=unused, optimizer_step=lambda: None)


def _meta_copy(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of the network on the meta device, without copying its tensors first."""
    meta_tensors: dict[int, Any] = {}
    for module in network.modules():
        # Spectral normalization stores its weight as a plain attribute, which deepcopy rejects once it has a graph.
        for tensor in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):  # pyright: ignore[reportPrivateUsage]
            if isinstance(tensor, Tensor):
                meta_tensors[id(tensor)] = _meta_tensor(tensor, dtype)
    return copy.deepcopy(network, meta_tensors)


def _meta_tensor(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", dtype=dtype if tensor.is_floating_point() else tensor.dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def peak_tflops(device: torch.device) -> float | None:
    """Return the peak half-precision TFLOP/s of a device; None if it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    # Whole words only: an A4000 is not an A40.
    matches = (peak for model, peak in _PEAK_TFLOPS.items() if re.search(rf"\b{model}\b", name))
    return next((float(peak) for peak in matches), None)
