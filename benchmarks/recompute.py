"""Time and memory of RRDBNet's forward and backward pass, with and without recomputing its blocks.

    python benchmarks/recompute.py [--batch 2] [--crop 128] [--rounds 3]

Each candidate has a process of its own, because the peak of a process never falls; they take turns.
"""

import argparse
import statistics
import subprocess
import sys
import time

import torch

from srgan_dist.models import RRDBNetConfig
from srgan_dist.utils.host_memory import peak_host_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--crop", type=int, default=128, help="HR pixels, x4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidate", choices=["plain", "recompute"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.candidate:
        print(*measure(arguments.candidate == "recompute", arguments.batch, arguments.crop))
        return
    print(f"torch {torch.__version__}, RRDBNet x4, 23 blocks, {arguments.batch} crops of {arguments.crop}, fp32, CPU\n")
    print("| | seconds | CPU seconds | peak above the weights | held for the backward pass |\n|:--|--:|--:|--:|--:|")
    found: dict[str, list[list[float]]] = {"plain": [], "recompute": []}
    for _ in range(arguments.rounds):
        for name, rows in found.items():
            said = subprocess.run(
                [*map(str, [sys.executable, *sys.argv]), "--candidate", name],
                capture_output=True,
                text=True,
                check=True,
            )
            rows.append([float(word) for word in said.stdout.split()])
    for name, rows in found.items():
        wall, cpu, peak, held = map(statistics.median, zip(*rows, strict=True))
        print(f"| {name} | {wall:.2f} | {cpu:.1f} | {peak / 2**20:.0f} MiB | {held / 2**20:.0f} MiB |")


def measure(recompute: bool, batch: int, crop: int) -> tuple[float, float, float, float]:
    """Wall and CPU seconds of one pass, its peak in bytes, and what its forward pass keeps for the backward pass."""
    torch.manual_seed(0)
    network = RRDBNetConfig(recompute=recompute).build(4).to(memory_format=torch.channels_last)
    _step(network, batch=1, crop=32)  # imports, threads, and the gradients' memory
    before, held = _peak(), dict[int, int]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    wall, cpu = time.perf_counter(), time.process_time()
    _step(network, batch, crop)
    wall, cpu, peak = time.perf_counter() - wall, time.process_time() - cpu, _peak() - before
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = network(torch.rand(batch, 3, crop // 4, crop // 4))
    del kept
    return wall, cpu, peak, sum(n for place, n in held.items() if place not in weights)


def _step(network: torch.nn.Module, batch: int, crop: int) -> None:
    network(torch.rand(batch, 3, crop // 4, crop // 4)).square().mean().backward()


def _peak() -> int:
    return peak_host_bytes()


if __name__ == "__main__":
    main()
