"""The parts of `gpu.py`; `gpu_steps` has those that take steps, `gpu_runs` those that train by the command line."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_steps import Report, config_of, images_of, largest_batch, steps

from benchmarks import gpu_runs
from benchmarks.operations import PRESETS, count_step
from srgan_dist.data.batch import Pair
from srgan_dist.distributed.accelerator import start
from srgan_dist.inference.fusion import super_resolve
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models import SRResNetConfig
from srgan_dist.training.trainable import Networks

ROOT = Path(__file__).parent.parent


def operations(report: Report, device: str, quick: bool) -> None:
    """Counted on the CPU; see `operations.py`."""
    del device
    report.say("| adversarial step, fp32 | casts | copies | rest |\n|:--|--:|--:|--:|")
    for name in PRESETS:
        counted = count_step(config_of(name, quick), "no").table()
        report.say(f"| {name} | {' | '.join(str(n) for n in counted.values())} |", **{name: counted})


def upscale(report: Report, device: str, quick: bool) -> None:
    """SRResNet x4 on a 1080p and a 4K image, beside plain PyTorch on the whole image."""
    network = SRResNetConfig(blocks=2 if quick else 16).build(4).eval()
    sizes = {"96x54": (96, 54), "192x108": (192, 108)} if quick else {"1080p": (1920, 1080), "4K": (3840, 2160)}
    report.say("SRResNet x4, medians of three turns.\n\n| image | way | s | x plain | GiB |\n|:--|:--|--:|--:|--:|")
    plain = network.to(device)
    precisions: dict[str, Any] = {"fp32": "no", "bf16": "bf16"} | ({"fp16": "fp16"} if device == "cuda" else {})
    ours = {f"srgan upscale, {name}": Upscaler(network, 4, device, precision=p) for name, p in precisions.items()}
    ways: dict[str, Callable[[Any], object]] = {"plain PyTorch, whole": lambda lr: super_resolve(plain, lr)} | ours
    for size, (width, height) in sizes.items():
        lr = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        memory: dict[str, int] = {}
        for _ in range(3):
            for name, way in ways.items():
                _upscale_turn(name, way, lr, torch.device(device), seconds, memory)
        reference = statistics.median(seconds["plain PyTorch, whole"] or [float("nan")])
        for name, taken in seconds.items():
            if not taken:
                report.say(f"| {size} | {name} | out of memory | | |")
                continue
            median = statistics.median(taken)
            report.say(
                f"| {size} | {name} | {median:.3g} | {reference / median:.2f} | {memory[name] / 2**30:.2f} |",
                **{f"{size} {name}": {"s": median, "gib": memory[name] / 2**30}},
            )


def _upscale_turn(
    name: str, way: Callable[[Any], object], lr: Any, device: torch.device, seconds: Any, memory: dict[str, int]
) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    with suppress(torch.OutOfMemoryError):
        way(lr)
        seconds[name].append(time.perf_counter() - began)
    memory[name] = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0


def overflow(report: Report, device: str, quick: bool) -> None:
    """Steps whose scaled gradients overflow change no weight, and the scaler finds its way back."""
    config = replace(config_of("srgan-mse-x4", True), mixed_precision="fp16" if device == "cuda" else "no")
    config = replace(config, loss=replace(config.loss, weights=replace(config.loss.weights, pixel=1e3)))
    accelerator = start(config.mixed_precision)
    if device == "cpu":  # the same scaler around float32, which overflows later
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    assert accelerator.scaler
    trainables = Networks(config, accelerator)
    trainables.start_adversarial()
    lr, hr = images_of(config, accelerator.device)
    if device == "cuda":
        accelerator.scaler._scale = torch.full((), 2.0**40, device=device)
    else:  # Accelerate takes the factor out in fp16 only
        assert trainables.discriminator
        trainables.generator, trainables.discriminator = (
            replace(trainable, unscale=partial(accelerator.scaler.unscale_, trainable.optimizer))
            for trainable in (trainables.generator, trainables.discriminator)
        )
    networks = {"generator": trainables.generator, "discriminator": trainables.discriminator}
    overflows, wrong = dict.fromkeys(networks, 0), 0
    count, last = 40, dict.fromkeys(networks, -1)
    for step in range(count):
        before = {name: [p.detach().clone() for p in trainable.parameters] for name, trainable in networks.items()}
        terms, _ = trainables.update([Pair(lr, hr)], 1e-4, measure_gradient_shares=False)
        for name, trainable in networks.items():
            kept = all(torch.equal(a, b) for a, b in zip(before[name], trainable.parameters, strict=True))
            finite = bool(terms[f"{name}_norm"].isfinite())
            overflows[name] += not finite
            last[name] = last[name] if finite else step
            wrong += kept == finite
    finite = all(bool(p.isfinite().all()) for trainable in networks.values() for p in trainable.parameters)
    report.say(
        f"{count} steps: {overflows['generator']} overflows of the generator's gradient and "
        f"{overflows['discriminator']} of the discriminator's, the last ones at steps {last['generator']} and "
        f"{last['discriminator']}; a network moved though its gradient overflowed, or the reverse: {wrong} times; the "
        f"scale fell to {accelerator.scaler.get_scale():.3g}; weights are {'finite' if finite else 'NOT finite'}.",
        overflows=overflows,
        wrong=wrong,
        finite=finite,
    )
    if wrong or not finite or not sum(overflows.values()) or sum(overflows.values()) > count:
        raise SystemExit("fp16 does not recover from an overflow")


def cuda_tests(report: Report, device: str, quick: bool) -> None:
    """`pytest -m cuda`; on a CPU they are found and skipped."""
    del quick
    if not (ROOT / "tests").is_dir():
        raise SystemExit("the tests are not beside the benchmarks")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "cuda",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",  # of other tests, where their packages are not installed
        str(ROOT / "tests"),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = ran.stdout.strip().splitlines()[-1:] or ["nothing"]
    report.say(f"`pytest -m cuda`: {last[0].strip('= ')}", code=ran.returncode)
    if "failed" in last[0] or (device == "cuda" and "passed" not in last[0]):
        raise SystemExit(ran.stdout[-3000:] + ran.stderr[-1000:])


MEASUREMENTS: dict[str, Callable[[Report, str, bool], None]] = {
    "tests": cuda_tests,
    "operations": operations,
    "step-srgan": steps("srgan"),
    "step-esrgan": steps("esrgan"),
    "step-real-esrgan": steps("real-esrgan"),
    "batch": largest_batch,
    "data": gpu_runs.data_wait,
    "upscale": upscale,
    "processes": gpu_runs.processes,
    "kill": gpu_runs.kill_and_resume,
    "overflow": overflow,
    "trace": gpu_runs.trace,
}
