"""When gradients leave for the other processes: how far the backward pass is when each of DDP's buckets is ready.

    python benchmarks/overlap.py [--bucket-mb 1]

Two processes under gloo on the CPU; eager and compiled SRResNet. Compiled code is one graph, but torch cuts it at the
buckets' bounds while DDP is active, so its gradients do not all come at the end.
"""

import argparse
import sys
import time
from typing import Any

import torch
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from srgan_dist.models import SRResNetConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket-mb", type=float, default=1.0)
    options = parser.parse_args()
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    multiprocessing.spawn(measure, (store.port, options.bucket_mb), nprocs=2)


def measure(rank: int, port: int, bucket_mb: float) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for way in ("eager", "compiled"):
        ready = buckets(compiled=way == "compiled", bucket_mb=bucket_mb)
        if rank == 0:
            sys.stdout.write(
                f"{way}: buckets ready at {', '.join(f'{share:.0%}' for share in ready)} of the backward pass\n"
            )
    dist.destroy_process_group()


def buckets(compiled: bool, bucket_mb: float) -> list[float]:
    """Shares of the backward pass's time."""
    torch.manual_seed(0)
    network = SRResNetConfig().build(4)
    ddp = DistributedDataParallel(
        network, broadcast_buffers=False, gradient_as_bucket_view=True, bucket_cap_mb=bucket_mb
    )
    times: list[float] = []

    def note(_: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        times.append(time.perf_counter())
        work = dist.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(lambda done: done.value()[0])

    ddp.register_comm_hook(None, note)
    if compiled:
        network.compile(dynamic=False, backend="aot_eager")  # where the graph is cut does not depend on the backend
    for _ in range(4):
        times.clear()
        loss = ddp(torch.rand(2, 3, 24, 24)).square().mean()
        began = time.perf_counter()
        loss.backward()
        seconds = time.perf_counter() - began
    return [(t - began) / seconds for t in times]


if __name__ == "__main__":
    main()
