"""Accelerate: starting a process, and the collectives that the program uses."""

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

from srgan_dist.distributed.devices import choose_device_kind
from srgan_dist.distributed.group import AgreedError
from srgan_dist.distributed.launcher import find_launcher, requested_num_processes
from srgan_dist.distributed.precision import MixedPrecision, Precision
from srgan_dist.utils.terminal import lines_of
from srgan_dist.utils.usage import UsageError

T = TypeVar("T")

log = logging.getLogger("srgan_dist")


def start(
    mixed_precision: MixedPrecision,
    expect: int | None = None,
    threads: int | None = None,
    timeout_hours: float = 1 / 6,
) -> Accelerator:
    """Create the Accelerator of this process: on the device of `choose_device_kind`, with gloo on the CPU.

    Args:
        mixed_precision: "auto" is resolved to a precision that every process supports.
        expect: required number of processes; None accepts the number that the launcher announced.
        threads: CPU threads per process; None shares the cores evenly. Ignored on CUDA.
        timeout_hours: how long a collective waits for the other processes before it fails.

    Raises:
        ValueError: if the number of processes is not the requested one, the precision is not supported on this
            device, or the launcher enables a feature that this program does not support.
    """
    # torch renamed this argument; Accelerate still passes it under the old name.
    warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
    kind = choose_device_kind()
    timeout = InitProcessGroupKwargs(timeout=timedelta(hours=timeout_hours))
    PartialState(cpu=kind == "cpu", **timeout.to_kwargs())  # joins the process group, which the next line needs
    precision = _agree_on_precision(_resolve_precision(mixed_precision))
    if precision == "fp16" and kind != "cuda":
        raise UsageError("mixed_precision=fp16 requires a CUDA device; use bf16 or no on the CPU")
    if AcceleratorState._shared_state:  # pyright: ignore[reportPrivateUsage]
        AcceleratorState._reset_state()  # pyright: ignore[reportPrivateUsage] # a notebook's next run may use another precision
    accelerator = Accelerator(
        cpu=kind == "cpu",
        mixed_precision=precision,
        kwargs_handlers=[
            # Rank 0's buffers are the ones that are saved; broadcasting them would cost a round trip per forward.
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True),
            timeout,
        ],
    )
    _check_num_processes(accelerator, expect)
    _reject_launcher_settings()
    if kind == "cpu":  # the launcher sets OMP_NUM_THREADS=1, which would leave cores idle
        local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // local_world_size))
    return accelerator


def _resolve_precision(requested: MixedPrecision) -> str:
    if requested != "auto":
        return requested
    from_launcher = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if from_launcher != "no":
        return from_launcher
    if not torch.cuda.is_available():
        return "no"
    native_bf16 = torch.cuda.get_device_capability()[0] >= 8  # older cards emulate bf16, slowly
    return "bf16" if native_bf16 else "fp16"


def _agree_on_precision(local: str) -> str:
    """Return a precision that all processes support; GPUs of different generations would each choose their own."""
    state = PartialState()
    proposed = set(gather_object([local])) if state.num_processes > 1 else {local}
    if len(proposed) == 1:
        return local
    agreed = "no" if "no" in proposed else "fp16"
    if state.is_main_process:
        log.warning(
            "the processes run on different devices, which prefer %s: all of them use %s",
            " and ".join(sorted(proposed)), agreed,
        )  # fmt: skip
    return agreed


def autocast_dtype(accelerator: Accelerator) -> torch.dtype | None:
    """Return the dtype that autocast computes in; None in full precision."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))


def precision_of(accelerator: Accelerator) -> Precision:
    """Return the precision that `start` resolved."""
    return (
        "bf16" if accelerator.mixed_precision == "bf16" else "fp16" if accelerator.mixed_precision == "fp16" else "no"
    )


def _check_num_processes(accelerator: Accelerator, expect: int | None) -> None:
    """Raise ValueError unless the requested number of processes has joined.

    Three ways of launching N processes silently start fewer, or N independent runs of one process each.
    """
    started, announced = accelerator.num_processes, int(os.environ.get("WORLD_SIZE", 1))
    requested = requested_num_processes() if "WORLD_SIZE" not in os.environ else None
    expected = expect or requested or announced
    if started != expected:
        raise UsageError(
            f"{expected} processes were requested, but {started} started. Launch them with: accelerate launch "
            f"--config_file accelerate_config.yaml --multi_gpu --num_processes {expected} train.py ..."
        )


def _reject_launcher_settings() -> None:
    """Raise ValueError for launcher settings that reach us as environment variables and would alter the training."""
    accumulation = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if accumulation != "1":
        raise UsageError(
            f"the launcher requests gradient accumulation over {accumulation} steps, which would only scale down the "
            f"loss; pass --accumulate {accumulation} to this program and set ACCELERATE_GRADIENT_ACCUMULATION_STEPS=1"
        )
    for name in ("DEEPSPEED", "FSDP", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("true", "1"):
            raise UsageError(
                f"the launcher enables {name}, but two networks that train against each other need plain DDP; "
                "launch them with --multi_gpu"
            )


def launch_command() -> list[str]:
    """Return the command line that started this process, or its launcher's if there is one."""
    launcher = find_launcher()
    return launcher.cmdline() if launcher else [sys.executable, *sys.orig_argv[1:]]


class AcceleratorGroup:
    """The processes of an Accelerator as a `group.Group`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.rank: int = accelerator.process_index
        self.size: int = accelerator.num_processes
        self.local_main_first = accelerator.local_main_process_first

    def gather(self, items: list[Any]) -> list[Any]:
        """Return the lists of all processes, concatenated in rank order, on every process. Collective."""
        return gather_object(items) if self.size > 1 else items


def run_on_main(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Run `work` on rank 0 only and return its result on every process. Collective.

    A ValueError travels like a result: if rank 0 raised it alone, the other processes would wait in the broadcast.

    Raises:
        AgreedError: on every process, if `work` raised a ValueError.
    """
    outcome: list[Any] = [None, ()]
    """The result, and the lines of a ValueError."""
    if accelerator.is_main_process:
        try:
            outcome[0] = work()
        except ValueError as error:
            outcome[1] = lines_of(error)
    if accelerator.num_processes > 1:
        broadcast_object_list(outcome)
    result, lines = outcome
    if lines:
        raise AgreedError(*lines)
    return result


def average(accelerator: Accelerator) -> Callable[[Tensor], Tensor]:
    """Return a differentiable function that averages a tensor over all processes.

    Let each of W processes have a loss L_k that uses m = (1/W) sum_k x_k, and let DDP average the parameters'
    gradients. The mean loss (1/W) sum_k L_k has the derivative (1/W) sum_k dL_k/dm * 1/W with respect to x_j. DDP
    already divides by W what process j computes, so process j has to backpropagate (1/W) sum_k dL_k/dm: forward and
    backward are the same all-reduce.
    """

    def all_reduce_mean(value: Tensor) -> Tensor:
        return accelerator.reduce(value.detach().clone(), "mean")  # pyright: ignore[reportReturnType]

    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            return all_reduce_mean(value)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return all_reduce_mean(gradients[0])

    def mean(value: Tensor) -> Tensor:
        return Mean.apply(value) if accelerator.num_processes > 1 else value  # pyright: ignore[reportReturnType]

    return mean
