"""Accelerate: how this process joins the others, and what they share."""

import os
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import gather_object

from srgan_dist.config import MixedPrecision


def start(mixed_precision: MixedPrecision, expect: int | None = None) -> Accelerator:
    """The accelerator of this process: CUDA where there is one, else gloo on the CPU.

    Raises:
        ValueError: the launcher promised other processes than those that are there.
    """
    cuda = torch.cuda.is_available()
    accelerator = Accelerator(
        cpu=not cuda,
        mixed_precision=_precision(mixed_precision),
        kwargs_handlers=[
            # Buffers: rank 0's count (they are what is saved); broadcasting them costs a round trip a forward.
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=timedelta(minutes=10)),
        ],
    )
    _guard(accelerator, expect)
    if not cuda:  # the launcher sets OMP_NUM_THREADS=1, which would leave cores idle
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local))
    return accelerator


def _precision(wanted: MixedPrecision) -> str:
    if wanted != "auto":
        return wanted
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked != "no":
        return asked
    if not torch.cuda.is_available():
        return "no"
    native_bf16 = torch.cuda.get_device_capability()[0] >= 8  # older cards emulate it, slowly
    return "bf16" if native_bf16 else "fp16"


def _guard(accelerator: Accelerator, expect: int | None) -> None:
    """Three ways of launching N processes silently give fewer, or N runs of one; none of them trains here."""
    launched = int(os.environ.get("WORLD_SIZE", 1))
    wanted = expect if expect is not None else launched
    if accelerator.num_processes != wanted:
        raise ValueError(
            f"{wanted} processes were asked for, {accelerator.num_processes} are in the group. Launch them with: "
            f"accelerate launch --config_file accelerate_config.yaml --multi_gpu --num_processes {wanted} train.py ..."
        )


class Ranks:
    """The launched processes as a `group.Group`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.rank: int = accelerator.process_index
        self.size: int = accelerator.num_processes

    def gather(self, mine: list[Any]) -> list[Any]:
        """Everybody's lists, one behind the other, on every process. Waits for all."""
        return gather_object(mine) if self.size > 1 else mine
