"""How training scales: 1 and 2 processes measured on a CPU, 8 and 64 GPUs by a model with its assumptions said.

    python benchmarks/scaling.py [--rounds 3] [--step-ms 1.4]

Measured: SRGAN with pixel content, small, one thread and one core a process, the same batch for each process; runs of
one and of two processes take turns. Modelled: the papers' networks; `--step-ms` is one GPU's step as benchmarks/step.py
measured it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
STEPS, WARM = 40, 5


@dataclass(frozen=True)
class Link:
    """What connects GPUs."""

    name: str
    bandwidth: float
    """Bytes a second that a ring all-reduce reaches for each GPU."""
    latency: float
    """Seconds of one hop of the ring."""


NVLINK = Link("NVLink within a node", 300e9, 3e-6)
NETWORK = Link("400 Gbit/s for each GPU between nodes", 40e9, 10e-6)
_BACKWARD = 0.6
"""Share of a network's own work in which its all-reduce can hide; DDP reduces 25 MB at a time as they come."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step-ms", type=float, default=1.4, help="SRGAN x4, batch 16; 1.4 is half of an H200's peak")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
    else:
        measured(arguments.rounds)
        modelled(arguments.step_ms / 1e3)


def measured(rounds: int) -> None:
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for processes in seconds:
            seconds[processes].append(launch(processes))
    one, two = (statistics.median(times) for times in seconds.values())
    print(f"measured on {os.cpu_count()} cores, medians of {rounds} rounds that took turns:\n")
    print("| processes | ms/step | crops/s | efficiency |\n|--:|--:|--:|--:|")
    for processes, step in ((1, one), (2, two)):
        print(f"| {processes} | {step * 1e3:.0f} | {8 * processes / step:.1f} | {one / step:.1%} |")


def launch(processes: int) -> float:
    """Seconds a step."""
    many = ["--multi_gpu", "--num_processes", str(processes)] if processes > 1 else []
    config = ["--config_file", str(ROOT / "accelerate_config.yaml")]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *config, *many, __file__]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "seconds.json")
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([*launcher, "--worker", str(out)], check=True, env=env, capture_output=True)
        return json.loads(out.read_text("utf-8"))


def work(out: Path) -> None:
    import torch

    from srgan_dist.data.batch import Pair
    from srgan_dist.distributed.accelerator import start
    from srgan_dist.distributed.launcher import exit_process
    from srgan_dist.training.trainable import Networks

    config = small()
    accelerator = start("no", threads=1)
    networks = Networks(config, accelerator)
    networks.start_adversarial()
    batch, side = config.data.batch, config.data.hr_crop
    hr = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
    pair = Pair(torch.nn.functional.avg_pool2d(hr, config.scale), hr)
    for number in range(STEPS + WARM):
        if number == WARM:
            accelerator.wait_for_everyone()
            began = time.perf_counter()
        networks.update([pair], 1e-4, measure_gradient_shares=False)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        out.write_text(json.dumps((time.perf_counter() - began) / STEPS))
    exit_process(0)


def small() -> Any:
    from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
    from srgan_dist.training.presets import preset

    config = preset("srgan-mse-x4")
    generator = SRResNetConfig(blocks=8, channels=32)
    evaluate_methods = VGGDiscriminatorConfig(channels=16, dense=64)
    return replace(
        config, data=replace(config.data, batch=8, hr_crop=96), generator=generator, discriminator=evaluate_methods
    )


def modelled(step: float) -> None:
    from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig

    sizes = [network.build(n) for network, n in ((SRResNetConfig(), 4), (VGGDiscriminatorConfig(), 96))]
    gradients = [4 * sum(p.numel() for p in network.parameters()) for network in sizes]
    shares = (0.18, 0.32)  # of the step's work: generator, discriminator
    print(
        f"\nmodeled, SRGAN x4, 16 crops a GPU, {step * 1e3:.2f} ms a step on one; gradients "
        f"{' + '.join(f'{g / 1e6:.1f} MB' for g in gradients)} (generator + discriminator), float32, ring all-reduce; "
        f"{_BACKWARD:.0%} of each network's own work hides its reduction:\n"
    )
    print("| GPUs | link | exposed ms | ms/step | crops/s | efficiency |\n|--:|:--|--:|--:|--:|--:|")
    for gpus, link in ((1, None), (8, NVLINK), (64, NETWORK)):
        exposed = sum(
            max(0.0, reduction(size, gpus, link) - _BACKWARD * share * step)
            for size, share in zip(gradients, shares, strict=True)
        )
        whole = step + exposed
        name = link.name if link else ""
        print(
            f"| {gpus} | {name} | {exposed * 1e3:.2f} | {whole * 1e3:.2f} | {16 * gpus / whole:,.0f} | "
            f"{step / whole:.0%} |"
        )
    print(
        "\n".join(
            f"{link.name}: {link.bandwidth / 1e9:.0f} GB/s, {link.latency * 1e6:.0f} us a hop"
            for link in (NVLINK, NETWORK)
        )
    )


def reduction(size: float, gpus: int, link: Link | None) -> float:
    """Seconds of a ring all-reduce: every byte crosses a link twice, and the ring is gone around twice."""
    if link is None:
        return 0.0
    return 2 * (gpus - 1) / gpus * size / link.bandwidth + 2 * (gpus - 1) * link.latency


if __name__ == "__main__":
    main()
