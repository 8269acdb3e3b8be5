"""Kills a training run of several processes with SIGKILL at random moments and resumes it, many times.

    python benchmarks/kill.py --kills 50

Most kills hit launcher and workers at once, some the launcher or one worker alone (the others must then end by
themselves); some come while a checkpoint is being written, while the run is still starting, at the change of phases, or
during export and final evaluation; each moment is proved by what lies on the disk then. Whenever a killed run reaches
its end and after the last kill, its weights and its evaluation must be those of a run that was never disturbed, bit for
bit, and so must every checkpoint that was written on the way.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import SampleSource
from srgan_dist.runs import checkpoint

ROOT = Path(__file__).parent.parent
_WEIGHTS = {"starting": 1, "training": 4, "saving": 3, "phase change": 3, "ending": 3}
"""Moments, and how often one is waited for."""
_PATIENCE = 90.0
"""Seconds within which processes that were not hit must be gone too."""


class Killed(NamedTuple):
    """One kill."""

    victims: str
    moment: str
    """What was under way, by what lay on the disk or in the log."""
    half_written: bool
    """Whether it left a checkpoint half written."""


def command(shards: Path, run: Path, steps: int, processes: int) -> list[str]:
    many = ["--multi_gpu", "--num_processes", str(processes)] if processes > 1 else []
    config = ["--config_file", str(ROOT / "accelerate_config.yaml")]
    flags = [
        f"--data.shards={shards}", f"--run-dir={run}", f"--pretrain.steps={steps}", f"--adversarial.steps={steps}",
        "--data.hr-crop=32", "--data.batch=2", "--generator.blocks=1", "--generator.channels=8", "--threads=1",
        "--discriminator.channels=4", "--discriminator.dense=8", "--tracking.enabled=False", "--checkpoint.every=10",
        "--checkpoint.keep=100000", "--validation.every=100000", "--log-every=10",
    ]  # fmt: skip
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *config, *many]
    return [*launcher, str(ROOT / "train.py"), "quickstart", *flags]


def start(arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with log.open("wb") as out:
        return subprocess.Popen(arguments, cwd=log.parent, env=env, stdout=out, stderr=out)


def finish(arguments: list[str], log: Path) -> None:
    if start(arguments, log).wait():
        raise SystemExit(f"a run that nobody disturbed failed:\n{log.read_text('utf-8')[-3000:]}")


def kill_somewhere(
    process: "subprocess.Popen[bytes]", run: Path, steps: int, moments: list[str], rng: random.Random
) -> Killed | None:
    """Waits for a random moment, then kills; nothing if the run ended before."""
    wanted = rng.choices(moments, [_WEIGHTS[m] for m in moments])[0]
    status, began = run / "status.json", time.time()
    if wanted == "starting":
        _wait(process, lambda: False, rng.uniform(0, 8))
    else:
        _wait(process, lambda: status.exists() and status.stat().st_mtime > began, 300)  # resumed
    if wanted in ("training", "saving"):
        _wait(process, lambda: False, rng.uniform(0, 1.5))
    if wanted == "saving":
        _wait(process, lambda: any((run / "checkpoints").glob(".tmp-*")), 30, pause=0)
    if wanted == "phase change":
        _wait(process, lambda: _saved(run) >= steps, 60, pause=0)
        _wait(process, lambda: False, rng.uniform(0, 0.1))
    if wanted == "ending":
        _wait(process, lambda: _saved(run) >= 2 * steps, 60, pause=0)
        _wait(process, lambda: False, rng.uniform(0, 1.0))
    if process.poll() is not None:
        return None
    victims = rng.choices(("all", "launcher", "one worker"), (8, 1, 1))[0]
    _kill(process, victims, rng)
    return Killed(victims, moment_of(run, steps, began), any((run / "checkpoints").glob(".tmp-*")))


def moment_of(run: Path, steps: int, began: float) -> str:
    """What the killed run was doing, by what it left."""
    status, saved = run / "status.json", _saved(run)
    if not status.exists() or status.stat().st_mtime < began:
        return "starting"
    if any((run / "checkpoints").glob(".tmp-*")):
        return "saving"
    if saved >= 2 * steps:
        if not (run / "models" / "srgan.safetensors").exists():
            return "ending: final export"
        return "ending: evaluation" if not (run / "comparison.html").exists() else "ending: reports"
    if saved == steps:  # the last checkpoint of the first phase, none of the second
        return (
            "phase change: " + ("after" if (run / "models" / "srresnet.safetensors").exists() else "before") + " export"
        )
    return "training"


def _saved(run: Path) -> int:
    return max((int(f.name.split("-")[1]) for f in (run / "checkpoints").glob("step-*")), default=-1)


def _wait(process: "subprocess.Popen[bytes]", until: Any, seconds: float, pause: float = 0.005) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None and not until():
        time.sleep(pause)


def _kill(process: "subprocess.Popen[bytes]", victims: str, rng: random.Random) -> None:
    """SIGKILL; workers have sessions of their own, so killing the launcher's group would miss them."""
    launcher = psutil.Process(process.pid)
    launcher.suspend()  # it starts nobody while its children are counted
    workers = launcher.children(recursive=True)
    one = victims == "one worker" and workers
    for victim in [rng.choice(workers)] if one else [launcher, *(workers if victims != "launcher" else [])]:
        victim.kill()
    if one:
        launcher.resume()
    process.wait(_PATIENCE)
    _, alive = psutil.wait_procs(workers, _PATIENCE)
    if alive:
        raise SystemExit(f"{victims} killed, and {len(alive)} of {len(workers)} workers live on")


def common(whole: Path, killed: Path) -> list[str]:
    """Checkpoints that both runs have; one that was asked to stop has another besides. The last is among them."""
    found, others = ([f.name for f in sorted((r / "checkpoints").glob("step-*"))] for r in (whole, killed))
    assert found[-1] == others[-1], "the killed run did not reach its end"
    return [name for name in found if name in others]


def differing(whole: Path, killed: Path) -> list[str]:
    """Which of the killed run's checkpoints are not, bit for bit, those of the undisturbed one."""
    names = common(whole, killed)
    return [
        n for n in names if not _same(*(checkpoint.load(r / "checkpoints" / n)["networks"] for r in (whole, killed)))
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=600, help="of each phase")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--moments", nargs="+", choices=_WEIGHTS, default=list(_WEIGHTS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, rng = Path(tempfile.mkdtemp(prefix="srgan-kill-")), random.Random(options.seed)
    os.environ["SRGAN_CACHE"] = str(folder / "cache")
    pack(SampleSource(), PackOptions(out=folder / "shards", scale=2))

    def run(name: str) -> list[str]:
        return command(folder / "shards", folder / name, options.steps, options.processes)

    begun = time.monotonic()
    finish(run("whole"), folder / "log")
    print(f"undisturbed run: {time.monotonic() - begun:.0f} s", flush=True)
    kills: list[Killed] = []
    failures, runs, compared = 0, 0, 0
    while len(kills) < options.kills:
        runs, name, before = runs + 1, f"killed-{runs}", len(kills)
        while len(kills) < options.kills:
            killed = kill_somewhere(
                start(run(name), folder / "log"), folder / name, options.steps, options.moments, rng
            )
            if killed is None:
                break
            kills.append(killed)
            print(f"kill {len(kills)}: {killed}", flush=True)
        finish(run(name), folder / "log")
        wrong = differing(folder / "whole", folder / name)
        if (folder / "whole" / "evaluation.json").read_text("utf-8") != (folder / name / "evaluation.json").read_text(
            "utf-8"
        ):
            wrong.append("evaluation.json")
        compared += len(common(folder / "whole", folder / name))
        failures += (len(kills) - before) if wrong else 0
        print(f"run {runs} at its end after {len(kills) - before} kills; checkpoints that differ: {wrong}", flush=True)
        shutil.rmtree(folder / name)
    moments, victims = Counter(k.moment for k in kills), Counter(k.victims for k in kills)
    half = sum(k.half_written for k in kills)
    print(f"{len(kills) - failures} of {len(kills)} kills end with the undisturbed run's weights, in {runs} run(s), ")
    print(f"{compared} checkpoints compared; {dict(moments)}, {dict(victims)}; {half} left a half-written checkpoint")
    shutil.rmtree(folder)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
