"""The parts of `gpu.py` that take steps: their pace and memory, and the largest batch."""

import json
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from plain_step import PlainLoop
from step import CHECKED, flops, our_step

from benchmarks.operations import random_vgg
from srgan_dist.models import vgg
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.flops import peak_tflops
from srgan_dist.training.presets import preset

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
    config = config_of(f"{model}-x4", quick)
    report.say(f"HR crops of {config.data.hr_crop}, x4; ways take turns, medians of {2 if quick else 3} rounds.\n")
    report.say("| batch | way | ms | crops/s | x plain | TFLOP/s | of peak | GiB |\n|--:|:--|--:|--:|--:|--:|--:|--:|")
    batches = (1, 2) if quick else (16, 64, 256) if model == "srgan" else (4, 16, 64)
    for batch in batches:
        for compile in ("no", "default") if batch == batches[-2] else ("no",):
            if report.late:
                report.say(f"| {batch} | no time was left | | | | | | |")
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
    lr, hr = images_of(config, device)
    with patch.object(vgg, "_download", random_vgg):
        if name == "plain":
            plain = PlainLoop(config, device)
            step: Callable[[], object] = lambda: plain.step(lr.contiguous(), hr.contiguous())  # noqa: E731
        else:
            step = our_step(replace(config, mixed_precision=name.split(", ")[1]), lr, hr)
    with suppress(torch.OutOfMemoryError):
        for _ in range(CHECKED):  # those of ours read their losses back
            step()
    return Way(name, step, _allocated(device) - before, [])


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


def images_of(config: TrainConfig, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hr = torch.rand(config.data.batch, 3, config.data.hr_crop, config.data.hr_crop, device=device)
    lr = torch.nn.functional.avg_pool2d(hr, config.scale)
    return lr.to(memory_format=torch.channels_last), hr.to(memory_format=torch.channels_last)


def config_of(name: str, quick: bool) -> TrainConfig:
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
        config = config_of(f"{model}-x4", quick)

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
            step = our_step(replace(config, mixed_precision="bf16"), *images_of(config, device))
        torch.backends.cudnn.benchmark = False  # its search would need more memory than the step
        for _ in range(2):
            step()
        return True
    except torch.OutOfMemoryError:
        return False
    except RuntimeError as error:  # some of torch's kernels count elements in 32 bits
        if "INT_MAX" not in str(error):
            raise
        return False
    finally:
        step = None
        if device.type == "cuda":
            torch.cuda.empty_cache()
