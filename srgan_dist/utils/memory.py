"""How much memory there is, and how much a network needs per pixel."""

import resource
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """What can be taken on the device now; on the CPU also within the container's own limit."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    available = psutil.virtual_memory().available
    try:
        limit, used = ((_CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return min(available, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return available


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has had at once: tensors on a GPU, else everything."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.inference_mode()
def peak_bytes(network: nn.Module, run: Callable[[], object]) -> float:
    """About the most memory that `run`, which calls `network` or parts of it, has in use at once, beyond the weights.

    The largest layer's input and output are alive together; what skips hold and the allocator keeps makes it two and
    a half times that (SRResNet measured: 2.6).
    """
    largest = 0

    def watch(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        if not list(module.children()):
            buffers = {t.data_ptr(): t.nbytes for t in (*inputs, output) if isinstance(t, Tensor)}  # once if in place
            largest = max(largest, sum(buffers.values()))

    hooks = [m.register_forward_hook(watch) for m in network.modules()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return 2.5 * largest
