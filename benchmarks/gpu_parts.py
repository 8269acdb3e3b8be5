"""The parts of `gpu.py` that run in one process: steps, memory, upscaling, overflow."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from plain_step import PlainLoop
from step import flops

from benchmarks import gpu_runs
from benchmarks.operations import PRESETS, count_step, random_vgg
from srgan_dist.data.batch import Pair
from srgan_dist.distributed.accelerator import start
from srgan_dist.inference.fusion import super_resolve
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models import SRResNetConfig, vgg
from srgan_dist.training.compilation import choose_kernels, prepare_compilation
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.flops import peak_tflops
from srgan_dist.training.presets import preset
from srgan_dist.training.trainable import Players

ROOT = Path(__file__).parent.parent
BUDGET = 100.0
"""Seconds after which a part begins no further measurement."""


class Report:
    """What a part found, on disk after every line, so that a part which is cut off has told what it had."""

    def __init__(self, file: Path) -> None:
        self.folder = file.parent
        """Where files of a part may stay."""
        self._file, self._lines, self._numbers, self._began = file, list[str](), dict[str, Any](), time.monotonic()

    def say(self, line: str, **numbers: Any) -> None:
        """Add a line of Markdown and numbers."""
        self._lines.append(line)
        self._numbers |= numbers
        self._file.write_text(json.dumps({"text": "\n".join(self._lines), "numbers": self._numbers}))

    @property
    def late(self) -> bool:
        """Whether the part's time is nearly over."""
        return time.monotonic() - self._began > BUDGET


@dataclass
class Way:
    """One way of taking a step; the ways of a batch stay alive together and take turns."""

    name: str
    step: Callable[[], object]
    own: int
    """Bytes of weights, gradients, optimizer."""
    seconds: list[float]
    peak: int = 0


def steps(model: str) -> Callable[[Report, str, bool], None]:
    return lambda report, device, quick: _steps(report, model, torch.device(device), quick)


def _steps(report: Report, model: str, device: torch.device, quick: bool) -> None:
    config = _config(f"{model}-x4", quick)
    report.say(f"HR crops of {config.data.hr_crop}, x4; ways take turns, medians of {2 if quick else 3} rounds.\n")
    report.say("| batch | way | ms | crops/s | x plain | TFLOP/s | of peak | GiB |\n|--:|:--|--:|--:|--:|--:|--:|--:|")
    batches = (1, 2) if quick else (16, 64, 256) if model == "srgan" else (4, 16, 64)
    for batch in batches:
        for compile in ("no", "default") if batch == batches[-2] else ("no",):
            if report.late:
                report.say(f"| {batch} | not measured, for want of time | | | | | | |")
            else:
                _race(report, replace(config, data=replace(config.data, batch=batch), compile=compile), device, quick)


def _race(report: Report, config: TrainConfig, device: torch.device, quick: bool) -> None:
    batch, ways = config.data.batch, list[Way]()
    precisions = ("no", "bf16") if device.type == "cpu" else ("no", "fp16", "bf16")
    if config.compile != "no":  # takes up to a minute each
        precisions = ("no",) if device.type == "cpu" else ("bf16",)
    wanted = ["plain"] * (config.compile == "no") + [f"ours, {p}" for p in precisions]
    for name in wanted:
        try:
            ways.append(_way(name, config, device))
        except torch.OutOfMemoryError:
            report.say(f"| {batch} | {name}{_compiled(config)} | out of memory | | | | | |")
    for _ in range(2 if quick else 3):
        for way in ways:
            _turn(way, device, 1 if quick else max(3, 64 // batch))
    work = flops(config)
    plain = next((statistics.median(w.seconds) for w in ways if w.name == "plain"), None)
    for way in ways:
        if not way.seconds:
            report.say(f"| {batch} | {way.name}{_compiled(config)} | out of memory | | | | | |")
            continue
        seconds = statistics.median(way.seconds)
        rate, peak = work / seconds / 1e12, peak_tflops(device)
        times = f"{plain / seconds:.2f}" if plain else ""
        share = f"{rate / peak:.0%}" if peak else ""
        report.say(
            f"| {batch} | {way.name}{_compiled(config)} | {seconds * 1e3:.4g} | {batch / seconds:.4g} | {times} | "
            f"{rate:.3g} | {share} | {way.peak / 2**30:.2f} |",
            **{f"{batch} {way.name}{_compiled(config)}": {"ms": seconds * 1e3, "gib": way.peak / 2**30}},
        )


def _compiled(config: TrainConfig) -> str:
    return "" if config.compile == "no" else ", compiled"


def _way(name: str, config: TrainConfig, device: torch.device) -> Way:
    before = _allocated(device)
    lr, hr = _images(config, device)
    with patch.object(vgg, "_download", random_vgg):
        if name == "plain":
            plain = PlainLoop(config, device)
            step: Callable[[], object] = lambda: plain.step(lr.contiguous(), hr.contiguous())  # noqa: E731
        else:
            step = our_step(replace(config, mixed_precision=name.split(", ")[1]), lr, hr)
    with suppress(torch.OutOfMemoryError):
        for _ in range(2):
            step()
    return Way(name, step, _allocated(device) - before, [])


def our_step(config: TrainConfig, lr: torch.Tensor, hr: torch.Tensor) -> Callable[[], object]:
    """A step of the adversarial phase, a degradation included, as the trainer takes it."""
    accelerator = start(config.mixed_precision)
    choose_kernels(config.deterministic, config.compile)
    prepare_compilation(config.compile, Path("~/.cache/srgan_dist").expanduser())
    players = Players(config, accelerator)
    players.start_adversarial()
    batch = Pair(lr, hr, np.arange(len(hr), dtype=np.uint64))
    return lambda: players.update([batch], 1e-4, probe=False)


def _turn(way: Way, device: torch.device, count: int) -> None:
    """Time some steps; an out-of-memory error ends this way's turns."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before, began = _allocated(device), time.perf_counter()
    try:
        for _ in range(count):
            way.step()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return
    if device.type == "cuda":
        torch.cuda.synchronize()
        way.peak = max(way.peak, torch.cuda.max_memory_allocated() - before + way.own)
    way.seconds.append((time.perf_counter() - began) / count)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated() if device.type == "cuda" else 0


def _images(config: TrainConfig, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hr = torch.rand(config.data.batch, 3, config.data.hr_crop, config.data.hr_crop, device=device)
    lr = torch.nn.functional.avg_pool2d(hr, config.scale)
    return lr.to(memory_format=torch.channels_last), hr.to(memory_format=torch.channels_last)


def _config(name: str, quick: bool) -> TrainConfig:
    config = preset(name)
    if not quick:
        return config
    content = config.loss.content and replace(config.loss.content, layers=(("relu2_2", 1.0),))
    small: Any = {"channels": 8} | ({"dense": 16} if hasattr(config.discriminator, "dense") else {})
    return replace(
        config,
        generator=replace(config.generator, blocks=1, channels=16),
        discriminator=replace(config.discriminator, **small),
        data=replace(config.data, hr_crop=32, batch=2),
        loss=replace(config.loss, content=content),
    )


def largest_batch(report: Report, device: str, quick: bool) -> None:
    """By doubling and bisection, for each model in bf16."""
    report.say("| model, bf16 | HR crop | largest batch |\n|:--|--:|--:|")
    most = 4 if quick else 4096
    for model in ("srgan", "esrgan", "real-esrgan"):
        config = _config(f"{model}-x4", quick)

        def fits(batch: int, config: TrainConfig = config) -> bool:
            if report.late:
                raise SystemExit("the largest batch was not found in time")
            return _fits(replace(config, data=replace(config.data, batch=batch)), torch.device(device))

        found = bisected(fits, most)
        more = " or more" if found == most else ""
        report.say(f"| {model} | {config.data.hr_crop} | {found}{more} |", **{model: found})


def bisected(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, to an eighth of itself; 0 if 1 does not."""
    good, bad = 0, 1
    while bad <= most and fits(bad):
        good, bad = bad, bad * 2
    if bad > most:
        return good
    while bad - good > max(1, good // 8):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _fits(config: TrainConfig, device: torch.device) -> bool:
    try:
        with patch.object(vgg, "_download", random_vgg):
            step = our_step(replace(config, mixed_precision="bf16"), *_images(config, device))
        torch.backends.cudnn.benchmark = False  # its search would need more memory than the step
        for _ in range(2):
            step()
        return True
    except torch.OutOfMemoryError:
        return False
    finally:
        step = None
        if device.type == "cuda":
            torch.cuda.empty_cache()


def operations(report: Report, device: str, quick: bool) -> None:
    """Counted on the CPU; see `operations.py`."""
    del device
    report.say("| adversarial step, fp32 | casts | copies | rest |\n|:--|--:|--:|--:|")
    for name in PRESETS:
        counted = count_step(_config(name, quick), "no").table()
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
    config = replace(_config("srgan-mse-x4", True), mixed_precision="fp16" if device == "cuda" else "no")
    config = replace(config, loss=replace(config.loss, weights=replace(config.loss.weights, pixel=1e3)))
    accelerator = start(config.mixed_precision)
    if device == "cpu":  # the same scaler around float32, which overflows later
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    assert accelerator.scaler
    players = Players(config, accelerator)
    players.start_adversarial()
    lr, hr = _images(config, accelerator.device)
    if device == "cuda":
        accelerator.scaler._scale = torch.full((), 2.0**40, device=device)
    else:  # Accelerate takes the factor out in fp16 only
        assert players.discriminator
        players.generator, players.discriminator = (
            replace(player, unscale=partial(accelerator.scaler.unscale_, player.optimizer))
            for player in (players.generator, players.discriminator)
        )
    networks = {"generator": players.generator, "discriminator": players.discriminator}
    overflows, wrong = dict.fromkeys(networks, 0), 0
    count, last = 40, dict.fromkeys(networks, -1)
    for step in range(count):
        before = {name: [p.detach().clone() for p in player.parameters] for name, player in networks.items()}
        terms, _ = players.update([Pair(lr, hr)], 1e-4, probe=False)
        for name, player in networks.items():
            kept = all(torch.equal(a, b) for a, b in zip(before[name], player.parameters, strict=True))
            finite = bool(terms[f"{name}_norm"].isfinite())
            overflows[name] += not finite
            last[name] = last[name] if finite else step
            wrong += kept == finite
    finite = all(bool(p.isfinite().all()) for player in networks.values() for p in player.parameters)
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
        str(ROOT / "tests"),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = ran.stdout.strip().splitlines()[-1:] or ["nothing"]
    report.say(f"`pytest -m cuda`: {last[0].strip('= ')}", code=ran.returncode)
    if ran.returncode or (device == "cuda" and "passed" not in last[0]):
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
