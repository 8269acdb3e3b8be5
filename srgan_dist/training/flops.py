"""Operations and memory of a training step, counted on meta tensors, and the peak performance of GPUs."""

import copy
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from srgan_dist.data.batch import Pair
from srgan_dist.models.vgg import untrained_vgg
from srgan_dist.training.config import TrainConfig
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
        artifact = _meta_copy(self.losses.artifact, dtype) if self.losses.artifact else None
        losses = replace(self.losses, content=content, artifact=artifact)  # pyright: ignore[reportArgumentType]
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


def relative_step_cost(config: TrainConfig) -> float:
    """Return the multiply-adds of a step of the second phase, relative to one of the first; NaN if not known.

    Unlike `step_flops` it needs no networks of the second phase, which do not exist yet in the first one.

    A backward pass costs as much as a forward pass for the gradient of the inputs, and again for that of the weights:
    the generator costs 3 passes in both phases; the discriminator 2 passes forward, 4 backward, and 1 to reach the
    generator; VGG 2 forward and 1 to reach the generator.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            hr = torch.empty(1, 3, config.data.hr_crop, config.data.hr_crop)
            lr = torch.empty(1, 3, *(side // config.scale for side in hr.shape[2:]))
            generator = _multiply_adds(config.generator.build(config.scale), lr)
            added = 7 * _multiply_adds(config.discriminator.build(config.data.hr_crop), hr)
            if vgg := config.loss.vgg:
                added += 3 * _multiply_adds(untrained_vgg(vgg.network, [layer for layer, _ in vgg.layers]), hr)
    except Exception:  # a network of the user's own need not run on the meta device: the time left is only less exact
        return math.nan
    return 1 + added / (3 * generator)


def _multiply_adds(network: nn.Module, images: Tensor) -> float:
    """Return the multiply-adds of a forward pass in convolutions and linear layers."""
    counted = 0.0

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal counted
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            counted += out.numel() * module.weight[0].numel()

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(images)
    return counted
