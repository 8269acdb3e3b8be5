"""Free memory, peak memory, and an estimate of a network's activations."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from srgan_dist.utils.host_memory import free_host_bytes, peak_host_bytes


def free_bytes(device: torch.device) -> int:
    """Return how many bytes can be allocated on a device now; on the CPU, also within the limit of the container."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free_host_bytes()


def peak_memory(device: torch.device) -> int:
    """Return the peak memory of this process in bytes: of its tensors on a GPU, or of everything on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_host_bytes()


@torch.inference_mode()
def peak_bytes(network: nn.Module, run: Callable[[], object]) -> float:
    """Run a network and return an estimate of its peak memory in bytes, without the weights.

    The estimate is 2.5 times the input and output of the largest layer, which are alive at the same time. The factor
    covers tensors that are kept for skip connections and the overhead of the allocator (measured for SRResNet: 2.6).

    Args:
        network: The network whose layers are observed.
        run: Calls `network` or parts of it.
    """
    largest = 0

    def watch(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        if not list(module.children()):
            # Keyed by address, so that the tensor of an in-place layer is counted once.
            buffers = {t.data_ptr(): t.nbytes for t in (*inputs, output) if isinstance(t, Tensor)}
            largest = max(largest, sum(buffers.values()))

    hooks = [m.register_forward_hook(watch) for m in network.modules()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return 2.5 * largest
