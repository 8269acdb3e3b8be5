"""Accelerate: how this process joins the others, and what they share."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from srgan_dist.distributed.group import AgreedError
from srgan_dist.distributed.launcher import find_launcher, requested_num_processes
from srgan_dist.distributed.precision import MixedPrecision, Precision

T = TypeVar("T")

log = logging.getLogger("srgan_dist")


def start(
    mixed_precision: MixedPrecision,
    expect: int | None = None,
    threads: int | None = None,
    patience_hours: float = 1 / 6,
) -> Accelerator:
    """The accelerator of this process: CUDA where there is one, else gloo on the CPU.

    Args:
        patience_hours: how long a process waits for the others before it takes them for dead.

    Raises:
        ValueError: the launcher promised other processes than those that are there.
    """
    # torch renamed the argument, Accelerate still hands it over under the old name.
    warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
    cuda = torch.cuda.is_available()
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=patience_hours))
    PartialState(cpu=not cuda, **patience.to_kwargs())  # joins the processes, so that they can agree on the rest
    precision = _agreed(_precision(mixed_precision))
    if precision == "fp16" and not cuda:
        raise ValueError("mixed precision fp16 needs a CUDA device; on the CPU use bf16 or no")
    if AcceleratorState._shared_state:  # pyright: ignore[reportPrivateUsage]
        AcceleratorState._reset_state()  # pyright: ignore[reportPrivateUsage] # a notebook's next run may differ in precision
    accelerator = Accelerator(
        cpu=not cuda,
        mixed_precision=precision,
        kwargs_handlers=[
            # Buffers: rank 0's count (they are what is saved); broadcasting them costs a round trip a forward.
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True),
            patience,
        ],
    )
    _guard(accelerator, expect)
    _refuse_launchers_choices()
    if not cuda:  # the launcher sets OMP_NUM_THREADS=1, which would leave cores idle
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // local))
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


def _agreed(mine: str) -> str:
    """Return the precision that every process can compute in: cards of different ages would each choose their own."""
    state = PartialState()
    wanted = set(gather_object([mine])) if state.num_processes > 1 else {mine}
    if len(wanted) == 1:
        return mine
    agreed = "no" if "no" in wanted else "fp16"
    if state.is_main_process:
        log.warning("the devices differ (%s): all processes compute in %s", ", ".join(sorted(wanted)), agreed)
    return agreed


def autocast_dtype(accelerator: Accelerator) -> torch.dtype | None:
    """Return the type that autocast computes in; None in full precision."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))


def precision_of(accelerator: Accelerator) -> Precision:
    """What `start` settled on."""
    return (
        "bf16" if accelerator.mixed_precision == "bf16" else "fp16" if accelerator.mixed_precision == "fp16" else "no"
    )


def _guard(accelerator: Accelerator, expect: int | None) -> None:
    """Three ways of launching N processes silently give fewer, or N runs of one; none of them trains here."""
    there, promised = accelerator.num_processes, int(os.environ.get("WORLD_SIZE", 1))
    asked = requested_num_processes() if "WORLD_SIZE" not in os.environ else None
    wanted = expect or asked or promised
    if there != wanted:
        raise ValueError(
            f"{wanted} processes were asked for, but {there} came up. Launch them with: accelerate launch "
            f"--config_file accelerate_config.yaml --multi_gpu --num_processes {wanted} train.py ..."
        )


def _refuse_launchers_choices() -> None:
    """Refuse what a launcher can set by variables and what would change the training without a word."""
    asked = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if asked != "1":
        raise ValueError(
            f"the launcher asks for gradient accumulation over {asked} steps, which would only shrink the loss here; "
            f"use --accumulate {asked} of the program, and leave ACCELERATE_GRADIENT_ACCUMULATION_STEPS at 1"
        )
    for name in ("DEEPSPEED", "FSDP", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("true", "1"):
            raise ValueError(f"the launcher asks for {name}; two networks that train each other need plain processes")


def launch_command() -> list[str]:
    """The words by which this process was started, with its launcher's where there is one."""
    launcher = find_launcher()
    return launcher.cmdline() if launcher else [sys.executable, *sys.orig_argv[1:]]


class AcceleratorGroup:
    """The launched processes as a `group.Group`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.rank: int = accelerator.process_index
        self.size: int = accelerator.num_processes
        self.one_first = accelerator.local_main_process_first

    def gather(self, mine: list[Any]) -> list[Any]:
        """Everybody's lists, one behind the other, on every process. Waits for all."""
        return gather_object(mine) if self.size > 1 else mine


def on_first(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Return on every process what `work` returns on the first one, which alone does it.

    Raises:
        AgreedError: `work` raised a ValueError; every process raises it.
    """
    told: list[Any] = [None, ""]
    if accelerator.is_main_process:
        try:
            told[0] = work()
        except ValueError as error:
            told[1] = str(error)
    if accelerator.num_processes > 1:
        broadcast_object_list(told)
    if told[1]:
        raise AgreedError(told[1])
    return told[0]


def average(accelerator: Accelerator) -> Callable[[Tensor], Tensor]:
    """The mean of a tensor over all processes, with gradient.

    Let W processes each have a loss L_k, of which DDP averages the parameters' gradients, and let every L_k use
    m = (1/W) sum_k x_k. The mean loss moves with x_j by (1/W) sum_k dL_k/dm * 1/W; DDP divides what process j
    computes by W, so process j must send back (1/W) sum_k dL_k/dm: forward and backward are the same reduction.
    """

    def reduced(value: Tensor) -> Tensor:
        return accelerator.reduce(value.detach().clone(), "mean")  # pyright: ignore[reportReturnType]

    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            return reduced(value)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return reduced(gradients[0])

    def mean(value: Tensor) -> Tensor:
        return Mean.apply(value) if accelerator.num_processes > 1 else value  # pyright: ignore[reportReturnType]

    return mean
