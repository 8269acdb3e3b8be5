"""The parts of `gpu.py` that train through the command line: waiting for data, processes, kills, a trace."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.runs import checkpoint
from srgan_dist.runs.metric_names import CROPS_PER_S, DATA_WAIT

ROOT = Path(__file__).parent.parent
TINY = (
    "--data.hr-crop=32", "--data.batch=4", "--generator.blocks=1", "--generator.channels=8", "--threads=1",
    "--discriminator.channels=4", "--discriminator.dense=8",
)  # fmt: skip
QUIET = ("--tracking.enabled=False", "--validation.every=1000000", "--checkpoint.every=1000000")


@contextmanager
def workplace(side: int, count: int) -> Iterator[Path]:
    """A folder with packed random images in `shards`, at x2 and x4."""
    with tempfile.TemporaryDirectory(prefix="srgan-gpu-") as name:
        folder = Path(name)
        os.environ["SRGAN_CACHE"] = str(folder / "cache")
        rng = np.random.default_rng(0)
        for k in range(count):
            small = Image.fromarray(rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8))
            (folder / "images" / "train").mkdir(parents=True, exist_ok=True)
            small.resize((side, side), Image.Resampling.BICUBIC).save(folder / "images" / "train" / f"{k}.png")
        for scale in (2, 4):
            pack(FolderSource(root=folder / "images"), PackOptions(out=folder / f"shards-x{scale}", scale=scale))
        yield folder


def train(folder: Path, name: str, preset: str, *flags: str, before: tuple[str, ...] = ()) -> list[str]:
    """The command of a run in `folder/name`; `before` stands in for the plain interpreter."""
    shards = folder / ("shards-x2" if preset == "quickstart" else "shards-x4")
    start = before or (sys.executable, str(ROOT / "train.py"))
    return [*start, preset, f"--data.shards={shards}", f"--run-dir={folder / name}", *flags]


def finish(command: list[str], folder: Path) -> None:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command[-8:])} ended with {ran.returncode}:\n{ran.stderr[-3000:]}")


def weights(run: Path) -> dict[str, torch.Tensor]:
    content = checkpoint.load_latest(run / "checkpoints")
    assert content is not None
    networks = [p["network"] for p in content["networks"]["networks"]]
    return {f"{k}.{name}": t for k, network in enumerate(networks) for name, t in network.items()}


def difference(one: Path, other: Path) -> float:
    """The largest difference of two runs' weights, against the largest weight of its tensor."""
    a, b = weights(one), weights(other)
    floats = [name for name, t in a.items() if t.is_floating_point()]
    return max(float((a[n] - b[n]).abs().max() / a[n].abs().max().clamp(min=1e-12)) for n in floats)


def data_wait(report: Any, device: str, quick: bool) -> None:
    """The share of a run's time in which the training thread waited for crops."""
    steps = 20 if quick else 300
    small = TINY if quick else ("--data.batch=16",)
    with workplace(96 if quick else 512, 12) as folder:
        flags = (*small, *QUIET, f"--pretrain.steps={steps}", f"--adversarial.steps={steps}", "--log-every=10")
        finish(train(folder, "run", "srgan-mse-x4", *flags), folder)
        rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    del device
    report.say("| phase of srgan-mse-x4, packed shards | crops/s | waiting for data |\n|:--|--:|--:|")
    for phase, name in ((1, "pixel"), (2, "adversarial")):
        windows = [r for r in rows if r.get("phase") == phase and DATA_WAIT in r][1:]
        pace, wait = (statistics.median(r[metric] for r in windows) for metric in (CROPS_PER_S, DATA_WAIT))
        report.say(f"| {name} | {pace:.4g} | {wait:.2%} |", **{name: {"crops_per_s": pace, "data_wait": wait}})


def processes(report: Any, device: str, quick: bool) -> None:
    """Two processes on one card (gloo: NCCL refuses that) and one under NCCL, beside a plain run."""
    steps = 4 if quick else 20
    # Without BatchNorm, which sees half of the crops in each of two processes.
    tiny = (
        "--data.hr-crop=32", "--threads=1", "--deterministic=True", "--generator.type=compact", "--generator.convs=1",
        "--generator.channels=8", "--discriminator.type=unet", "--discriminator.channels=4",
    )  # fmt: skip
    flags = (*tiny, *QUIET, f"--pretrain.steps={steps}", f"--adversarial.steps={steps}", "--mixed-precision=no")
    nccl = "nccl" if device == "cuda" else "gloo"
    with workplace(96, 8) as folder:
        finish(train(folder, "one", "quickstart", *flags, "--data.batch=4"), folder)
        for name, count, backend, batch in (("two", 2, "gloo", 2), ("ddp", 1, nccl, 4)):
            launched = (sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}",
                        str(Path(__file__).parent / "gpu_process.py"), backend)  # fmt: skip
            finish(train(folder, name, "quickstart", *flags, f"--data.batch={batch}", before=launched), folder)
            apart = difference(folder / "one", folder / name)
            report.say(
                f"- {count} process(es), {backend}: {2 * steps} steps; the weights differ by "
                f"{apart:.1e} of their size from a plain run on the same crops.",
                **{name: apart},
            )
            if not apart < 1e-3:
                raise SystemExit(f"{count} process(es) under {backend} train something else than one")


def kill_and_resume(report: Any, device: str, quick: bool) -> None:
    """A run that is killed with SIGKILL and resumed, against one that was not."""
    steps = 30 if quick else 150
    flags = (*TINY, "--tracking.enabled=False", "--validation.every=1000000", "--checkpoint.every=10")
    flags += (f"--pretrain.steps={steps}", f"--adversarial.steps={steps}", "--log-every=10")
    with workplace(96, 8) as folder:
        for name, fixed in (("--deterministic", True), ("as by default", False)):
            mine = (*flags, f"--deterministic={fixed}")
            finish(train(folder, f"calm-{fixed}", "quickstart", *mine), folder)
            command, run = train(folder, f"killed-{fixed}", "quickstart", *mine), folder / f"killed-{fixed}"
            kills = sum(_kill_after(command, run, folder, fraction * steps) for fraction in (0.4, 1.4))
            finish(command, folder)
            apart = difference(folder / f"calm-{fixed}", run)
            outcome = "bit for bit the undisturbed run's" if apart == 0 else f"{apart:.1e} from the undisturbed run's"
            report.say(f"- {name}: killed {kills} times, resumed; weights {outcome}.", **{name: apart})
            if fixed and (apart or kills < 2):
                raise SystemExit("a killed run does not end as one that was not")
    del device


def _kill_after(command: list[str], run: Path, folder: Path, step: float) -> int:
    """SIGKILL a run once it has saved a checkpoint after `step`; return 1 if it was still running."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        saved = [int(f.name.split("-")[1]) for f in (run / "checkpoints").glob("step-*")]
        if saved and max(saved) >= step:
            for victim in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                victim.kill()
            process.wait()
            return 1
        time.sleep(0.002)
    return 0


def trace(report: Any, device: str, quick: bool) -> None:
    """`--profile 20`: the ten most expensive operations; the trace is left in the report's folder."""
    steps = 20
    small = TINY if quick else ()
    with workplace(96 if quick else 512, 8) as folder:
        flags = (*small, *QUIET, "--pretrain.steps=0", f"--adversarial.steps={steps + 10}", f"--profile={steps}")
        finish(train(folder, "run", "srgan-mse-x4", *flags), folder)
        profile = folder / "run" / "profile"
        size = (profile / "trace.json.gz").stat().st_size
        (report.folder / "trace.json.gz").write_bytes((profile / "trace.json.gz").read_bytes())
        table = (profile / "operations.txt").read_text("utf-8")
    del device
    report.say(f"`trace.json.gz` ({size >> 10} KiB) opens in ui.perfetto.dev.\n\n```\n{table}\n```", bytes=size)
