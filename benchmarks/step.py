"""One training step: ours beside a plain loop as BasicSR writes it, taking turns on one machine in one run.

    python benchmarks/step.py [--model srgan|esrgan] [--ways plain ours ours-bf16 ...] [--rounds 5] [--batch 16]

Every way is a process of its own that waits while the others have their turn, so peak memory is each one's own. Crops
are the papers' (SRGAN 96, ESRGAN 128, x4), VGG19 has random weights: they cost what ImageNet's cost.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
WAYS = {
    "plain": "plain PyTorch as BasicSR writes it, fp32",
    "basicsr": "BasicSR itself, fp32",
    "ours": "ours, fp32",
    "ours-bf16": "ours, bf16",
    "ours-compiled": "ours, fp32, --compile default",
    "ours-bf16-compiled": "ours, bf16, --compile default",
    "ours-bf16-graphs": "ours, bf16, --compile reduce-overhead",
}
PRESETS = {"srgan": "srgan-x4", "esrgan": "esrgan-x4"}
CHECKED = 3
"""Steps whose losses are compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=PRESETS, default="srgan")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["plain", "ours", "ours-bf16"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, help="HR pixels; the paper's when not given")
    parser.add_argument("--blocks", type=int, help="of the generator; the paper's when not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="per turn; 1 on a CPU, 20 on a GPU when not given")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--vgg", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
    else:
        race(arguments)


def race(arguments: argparse.Namespace) -> None:
    if "basicsr" in arguments.ways and find_spec("basicsr") is None:
        print("BasicSR is not installed: left out.\n")
        arguments.ways.remove("basicsr")
    with tempfile.TemporaryDirectory() as scratch:
        vgg = Path(scratch, "vgg19.pth")
        subprocess.run([sys.executable, "-c", _RANDOM_VGG, str(vgg)], check=True)
        workers = {way: start(way, vgg) for way in arguments.ways}
        try:
            told = {way: ask(worker) for way, worker in workers.items()}
            pace: dict[str, list[float]] = {way: [] for way in workers}
            memory: dict[str, float] = {}
            for _ in range(arguments.rounds):
                for way, worker in workers.items():
                    tell(worker)
                    answer = ask(worker)
                    pace[way].append(answer["seconds"])
                    memory[way] = answer["memory"]
        finally:
            for worker in workers.values():
                worker.kill()
    report(arguments, told, {way: statistics.median(times) for way, times in pace.items()}, memory)


_RANDOM_VGG = (
    "import sys, torch; from torchvision.models import vgg19; torch.manual_seed(0);"
    "torch.save(vgg19().state_dict(), sys.argv[1])"
)


def start(way: str, vgg: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, *sys.argv, "--worker", way, "--vgg", str(vgg)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def tell(worker: "subprocess.Popen[str]") -> None:
    assert worker.stdin
    worker.stdin.write("go\n")
    worker.stdin.flush()


def ask(worker: "subprocess.Popen[str]") -> dict[str, Any]:
    assert worker.stdout
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"{worker.args} ended")
    return json.loads(line)


def report(
    arguments: argparse.Namespace, told: dict[str, Any], pace: dict[str, float], memory: dict[str, float]
) -> None:
    first = next(iter(told.values()))
    peak, flops = first["peak"], first["flops"]
    print(
        f"{arguments.model} x4, batch {arguments.batch}, crop {first['crop']}: {flops / 1e12:.3f} TFLOP a step; "
        f"{first['device']}, torch {first['torch']}, {first['threads']} threads; "
        f"{arguments.rounds} rounds, medians\n"
    )
    of_peak = " of peak |" if peak else ""
    print(f"| way | ms/step | crops/s | x {arguments.ways[0]} | TFLOP/s |{of_peak} GiB |")
    print("|:--|--:|--:|--:|--:|--:|" + ("--:|" if peak else ""))
    for way, seconds in pace.items():
        rate = flops / seconds / 1e12
        share = f" {rate / peak:.1%} |" if peak else ""
        print(
            f"| {WAYS[way]} | {seconds * 1e3:.4g} | {arguments.batch / seconds:.4g} | "
            f"{pace[arguments.ways[0]] / seconds:.2f} | {rate:.3g} |{share} {memory[way]:.1f} |"
        )
    for way, facts in told.items():
        if way != "plain" and "plain" in told and facts["losses"]:
            print(f"\nlargest relative difference of {way}'s losses from plain's: {difference(told['plain'], facts)}")


def difference(plain: dict[str, Any], ours: dict[str, Any]) -> str:
    steps: list[str] = []
    for one, other in zip(plain["losses"], ours["losses"], strict=True):
        steps.append(f"{max(abs(other[name] - value) / abs(value) for name, value in one.items()):.1e}")
    return f"{', '.join(steps)} in the first {CHECKED} steps"


def work(arguments: argparse.Namespace) -> None:
    """One way: tells the parent that it is warm, then takes a turn whenever it is told to."""
    import torch

    from srgan_dist.training.flops import peak_tflops

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = configuration(arguments)
    step = loop(config, device, arguments)
    losses = [step() for _ in range(CHECKED)]
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else "CPU"
    facts = {"crop": config.data.hr_crop, "device": name, "torch": torch.__version__, "flops": flops(config)}
    facts |= {"threads": torch.get_num_threads(), "peak": peak_tflops(device)}
    say(facts | {"losses": losses if arguments.worker != "basicsr" else []})
    count = arguments.steps or (20 if cuda else 1)
    while sys.stdin.readline():
        say({"seconds": timed(step, count, cuda), "memory": used(device)})


def timed(step: Callable[[], object], count: int, cuda: bool) -> float:
    import torch

    began = time.perf_counter()
    for _ in range(count):
        step()
    if cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def used(device: Any) -> float:
    from srgan_dist.utils.memory import peak_memory

    return peak_memory(device) / 2**30


def say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def configuration(arguments: argparse.Namespace) -> Any:
    from srgan_dist.training.presets import preset

    config = preset(PRESETS[arguments.model])
    data = replace(config.data, batch=arguments.batch, hr_crop=arguments.crop or config.data.hr_crop)
    generator = replace(config.generator, blocks=arguments.blocks or config.generator.blocks)
    content = replace(config.loss.content, weights=arguments.vgg)
    way = arguments.worker
    compile = "default" if "compiled" in way else "reduce-overhead" if "graphs" in way else "no"
    return replace(
        config, data=data, generator=generator, loss=replace(config.loss, content=content), compile=compile,
        mixed_precision="bf16" if "bf16" in way else "no",
    )  # fmt: skip


def loop(config: Any, device: Any, arguments: argparse.Namespace) -> Callable[[], dict[str, float]]:
    import torch

    torch.manual_seed(1)
    hr = torch.rand(config.data.batch, 3, config.data.hr_crop, config.data.hr_crop)
    lr = torch.nn.functional.avg_pool2d(hr, config.scale)
    if arguments.worker.startswith("ours"):
        return our_step(config, lr, hr)
    from plain_step import BasicSR, PlainLoop

    torch.set_num_threads(os.cpu_count() or 1)
    plain = PlainLoop(config, device) if arguments.worker == "plain" else BasicSR(config, device, arguments.vgg)
    lr, hr = lr.to(device), hr.to(device)
    return lambda: plain.step(lr, hr)


def our_step(config: Any, lr: Any, hr: Any) -> Callable[[], dict[str, float]]:
    """What the trainer does for each step: update (with a degradation, if there is one), meter, skip count.

    Losses are read back only when they are compared.
    """
    import numpy as np
    import torch

    from srgan_dist.data.batch import Pair
    from srgan_dist.distributed.accelerator import start
    from srgan_dist.distributed.coordination import Skips
    from srgan_dist.training.compilation import choose_kernels, prepare_compilation
    from srgan_dist.training.reports.meter import Meter
    from srgan_dist.training.trainable import Networks
    from srgan_dist.utils.cache_folder import cache_folder

    accelerator = start(config.mixed_precision)
    choose_kernels(config.deterministic, config.compile)
    prepare_compilation(config.compilation, cache_folder())
    networks, meter, skips = Networks(config, accelerator), Meter(accelerator), Skips(accelerator.device)
    networks.start_adversarial()
    lr, hr = (t.to(accelerator.device).to(memory_format=torch.channels_last) for t in (lr, hr))
    batch = Pair(lr, hr, np.arange(len(hr), dtype=np.uint64))
    rate = config.adversarial.schedule.at(0, config.adversarial.steps)
    number = 0

    def step() -> dict[str, float]:
        nonlocal number
        terms, skipped = networks.update([batch], rate, measure_gradient_shares=False)
        meter.add(terms, skipped, 0.0)
        skips.add(terms, skipped, number)
        number += 1
        names = ("pixel", "content", "adversarial", "discriminator") if number <= CHECKED else ()
        return {name: float(terms[name]) for name in names}

    return step


def flops(config: Any) -> int:
    from srgan_dist.training.flops import step_flops

    return step_flops(meta_step(config), config.data.batch, config.data.hr_crop, config.scale)


def meta_step(config: Any) -> Any:
    """The networks of a configuration, for counting."""
    import torch
    from torchvision.models import vgg19

    from srgan_dist.models.vgg import VGGFeatures
    from srgan_dist.training.flops import MetaStep
    from srgan_dist.training.losses import ContentLoss
    from srgan_dist.training.steps import Losses

    content = config.loss.content
    with torch.device("meta"):
        generator, evaluate_methods = (
            config.generator.build(config.scale),
            config.discriminator.build(config.data.hr_crop),
        )
        vgg = VGGFeatures(vgg19().features, [layer for layer, _ in content.layers])
    gan = config.loss.adversarial.build(lambda mean: mean)
    return MetaStep(
        generator, evaluate_methods, Losses(config.loss.pixel, ContentLoss(vgg, content), gan, config.loss.weights)
    )


if __name__ == "__main__":
    main()
