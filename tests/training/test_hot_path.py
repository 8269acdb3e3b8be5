"""What a step asks of the device, counted on the CPU: launches by kind, and copies that would make a GPU wait."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.operations import CountOperations, count_degradation, count_step, random_vgg
from srgan_dist.data.batch import RawBatch
from srgan_dist.data.degradations import batch_plan, jpeg
from srgan_dist.data.loading.prefetch import to_device
from srgan_dist.distributed.accelerator import start
from srgan_dist.distributed.coordination import Skips
from srgan_dist.models import vgg
from srgan_dist.training.presets import PRESETS, preset
from srgan_dist.training.reports.meter import Meter
from srgan_dist.training.trainable import Networks

META = torch.device("meta")

DEGRADATION_BEFORE = 3036
"""Operations of a batch of 16 before they were gathered; a third is the promise."""


@pytest.mark.parametrize(
    ("name", "blocks", "casts", "total"),
    [
        ("srgan-x4", 16, 195, 940),
        ("esrgan-x4", 1, 159, 777),
        pytest.param("real-esrgan-x4", 1, 192, 1730, marks=pytest.mark.extended),
    ],
)
def test_a_step_takes_no_more_casts_and_operations_than_it_did(name, blocks, casts, total):
    config = preset(name)
    config = replace(config, generator=replace(config.generator, blocks=blocks))

    counted = count_step(config, "bf16").table()

    assert counted["casts"] <= casts, counted
    assert sum(counted.values()) <= total * 1.02, counted  # other versions of torch divide some operations otherwise


def test_a_degradation_takes_a_third_of_the_operations_that_it_took():
    counted = count_degradation(preset("real-esrgan-x4")).table()

    assert sum(counted.values()) <= DEGRADATION_BEFORE / 3, counted


def test_the_counter_counts_backward_passes_and_leaves_out_views():
    x = torch.rand(4, 4, requires_grad=True)

    with CountOperations() as counted:
        (x.view(16).half() * 2).sum().backward()

    assert counted.table()["casts"] == 2
    assert not [name for name in counted.counts if "view" in name]


class Transfers(TorchDispatchMode):
    """Counts copies to the device, and notes those that would make the host wait: from memory that is not pinned.

    On the device "meta", which has shapes and no values, so that reading a value back fails by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pinned: set[int] = set()
        self.count, self.faults = 0, []
        self.wide: set[str] = set()
        """Operations that make float64 tensors on the device."""
        self.accelerator: Any = None

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        self.pinned.add(tensor.data_ptr())
        return tensor

    def made(self, create: Any) -> Any:
        """`torch.tensor`, which on a device copies what it is given there."""

        def tensor(data: Any, device: Any = None, **how: Any) -> torch.Tensor:
            self.faults += ["torch.tensor on the device"] if device == META else []
            return create(data, device=device, **how)

        return tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [t for t in pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.wide |= {func.name() for t in made if t.device == META and t.dtype == torch.float64}
        if func.name().startswith(("aten::_to_copy", "aten::copy_")):
            into, source = (out, args[0]) if func.name().startswith("aten::_to_copy") else args[:2]
            if into.device != source.device:
                self.count += 1
                if source.data_ptr() not in self.pinned:
                    self.faults.append(f"{tuple(source.shape)} from pageable memory")
        return out


@pytest.fixture
def device(monkeypatch):
    """A stand-in for a GPU, as far as trainer and Accelerate can see."""
    accelerator = start("no")
    for shared in (PartialState._shared_state, AcceleratorState._shared_state):
        monkeypatch.setitem(shared, "device", META)
    monkeypatch.setattr(vgg, "_download", random_vgg)
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_: None)
    monkeypatch.setattr(
        sys.modules["torch.utils._foreach_utils"], "_get_fused_kernels_supported_devices", lambda: ["meta"]
    )
    monkeypatch.setattr(batch_plan, "_WAITS_FOR_COPIES", ("meta",))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with Transfers() as transfers:
        monkeypatch.setattr(torch, "tensor", transfers.made(torch.tensor))
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: transfers.pin(tensor))
        transfers.accelerator = accelerator
        yield transfers


@pytest.mark.parametrize("name", PRESETS)
def test_no_step_copies_from_pageable_memory_or_reads_a_value_back(device, name):
    config = preset(name)
    small = {"blocks": 1} if hasattr(config.generator, "blocks") else {"convs": 1}
    config = replace(
        config, generator=replace(config.generator, **small), mixed_precision="no", adversarial_weights=None
    )
    accelerator = device.accelerator
    networks, meter, skips = Networks(config, accelerator), Meter(accelerator), Skips(META)
    for phase in range(2):
        if phase:
            networks.start_adversarial()
        for step in range(2):  # the first one makes constants and the optimizers' state
            raw = pinned_batch(device, config.data.hr_crop, config.scale)
            device.count, device.faults = 0, []
            terms, skipped = networks.update([to_device(raw, META)], 1e-4, measure_gradient_shares=bool(step))
            meter.add(terms, skipped, 0.0)
            skips.add(terms, skipped, step)
        assert device.faults == []
        assert device.count == 3 + (config.degradation is not None)  # the batch, and a degradation's parameters


def pinned_batch(device: Transfers, hr_crop: int, scale: int) -> RawBatch:
    """As the reader's buffers are."""
    lr, hr = (torch.zeros(16, n, n, 3, dtype=torch.uint8) for n in (hr_crop // scale, hr_crop))
    pinned = (device.pin(t) for t in (lr, hr, torch.zeros(16, dtype=torch.uint8)))
    return RawBatch(*pinned, np.arange(16, dtype=np.uint64))


def test_copies_from_pageable_memory_and_values_read_back_are_noticed(device):
    torch.from_numpy(np.zeros(3)).to(META)
    torch.zeros(3, device=META)[0] = torch.ones(())
    torch.tensor([1.0], device=META)

    assert len(device.faults) == 3
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.zeros(3, device=META).sum().item()


@pytest.mark.parametrize("name", ["quickstart", "esrgan-x4", "real-esrgan-x4"])
def test_no_step_needs_float64_on_a_device_that_has_none(device, name, monkeypatch):
    monkeypatch.setattr(jpeg, "_WITHOUT_FLOAT64", ("meta",))
    jpeg._constants.cache_clear()
    config = preset(name)
    config = replace(config, generator=replace(config.generator, blocks=1), mixed_precision="no")
    networks, meter, skips = Networks(config, device.accelerator), Meter(device.accelerator), Skips(META)
    networks.start_adversarial()

    raw = pinned_batch(device, config.data.hr_crop, config.scale)
    terms, skipped = networks.update([to_device(raw, META)], 1e-4, measure_gradient_shares=True)
    meter.add(terms, skipped, 0.0)
    skips.add(terms, skipped, 0)
    jpeg._constants.cache_clear()

    assert device.wide == set()
