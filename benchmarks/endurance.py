"""Training that is suspended, held up by one process, or sent back in time, and training for long.

    python benchmarks/endurance.py [--steps 2500] [--pause 60]

Two processes, tiny networks. Each way must end with the weights of an undisturbed run, bit for bit; memory, file
descriptors and threads of the undisturbed run are compared between 60 and 98 % of its steps.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from kill import command, differing, finish, start

from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import SampleSource

_CLOCK = """
import sys, time
real, calls = time.time, iter(range(10**9))
time.time = lambda: real() - (3600 if next(calls) > 50 else 0)  # an hour back, in the middle of the run
from srgan_dist.cli.train import train_main
sys.exit(train_main())
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2500, help="of each phase")
    parser.add_argument("--pause", type=float, default=60)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="srgan-endurance-"))
    pack(SampleSource(), PackOptions(out=folder / "shards", scale=2))
    clock = folder / "clock.py"
    clock.write_text(_CLOCK)

    def run(name: str) -> list[str]:
        seldom = (f"--checkpoint.every={max(1, options.steps // 5)}", "--log-every=100")
        return [*command(folder / "shards", folder / name, options.steps, processes=2), *seldom]

    wrong: list[str] = []
    print(growth(run("whole"), folder / "whole", wrong), flush=True)
    held = f"{options.pause:g} s"

    def go_back(name: str) -> None:
        finish([str(clock) if word.endswith("train.py") else word for word in run(name)], folder / "log")

    ways: dict[str, Callable[[str], None]] = {
        f"all processes suspended for {held}": lambda n: pause(run(n), folder, n, options.pause, everyone=True),
        f"one process stopped for {held}": lambda n: pause(run(n), folder, n, options.pause, everyone=False),
        "clock set back an hour": go_back,
    }
    for number, (name, way) in enumerate(ways.items()):
        began = time.monotonic()
        way(f"way-{number}")
        differs = differing(folder / "whole", folder / f"way-{number}")
        wrong += [name] if differs else []
        warning = f"{len(differs)} checkpoints DIFFER" if differs else "bit for bit the undisturbed run's"
        print(f"{name}: {time.monotonic() - began:.0f} s, weights {warning}", flush=True)
    shutil.rmtree(folder)
    return 1 if wrong else 0


def growth(arguments: list[str], run: Path, wrong: list[str]) -> str:
    """Run to the end, and say what the workers held early and late in the second phase.

    The first one has one network less, so memory grows once between them, which is no growth by steps.
    """
    launcher = start(arguments, run.parent / "log")
    seen: list[tuple[int, tuple[int, int, int]]] = []
    while launcher.poll() is None:
        step, workers = last_step(run), trainers(launcher.pid)
        if len(workers) == 2:  # the second one ends before the first has drawn its page
            seen.append((step, usage(workers)))
        time.sleep(0.5)
    if launcher.returncode:
        raise SystemExit((run.parent / "log").read_text("utf-8")[-3000:])
    end = seen[-1][0]
    early, late = (next(u for step, u in seen if step >= share * end) for share in (0.6, 0.98))
    wrong += ["growth"] if late[0] > 1.05 * early[0] or late[1] > early[1] or late[2] > early[2] else []
    of = "MiB {}, descriptors {}, threads {}"
    return f"{end} steps, two workers together: {of.format(*early)} at 60 % of them, {of.format(*late)} at 98 %"


def last_step(run: Path) -> int:
    """The last step in the run's metrics."""
    file = run / "metrics.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def usage(workers: list[psutil.Process]) -> tuple[int, int, int]:
    try:
        return (
            sum(w.memory_info().rss for w in workers) >> 20,
            sum(w.num_fds() for w in workers),
            sum(w.num_threads() for w in workers),
        )
    except psutil.Error:
        return 0, 0, 0


def pause(arguments: list[str], folder: Path, name: str, seconds: float, everyone: bool) -> None:
    """Stop workers in the middle of the run, and let them go on."""
    launcher = start(arguments, folder / "log")
    checkpoints = folder / name / "checkpoints"
    while not any(checkpoints.glob("step-*")):
        time.sleep(0.05)
        if launcher.poll() is not None:
            raise SystemExit((folder / "log").read_text("utf-8")[-3000:])
    workers = trainers(launcher.pid)
    held = workers if everyone else workers[1:2]
    for worker in held:
        worker.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    for worker in held:
        worker.send_signal(signal.SIGCONT)
    if launcher.wait():
        raise SystemExit((folder / "log").read_text("utf-8")[-3000:])


def trainers(launcher: int) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in psutil.Process(launcher).children(recursive=True):
        with suppress(psutil.Error):  # it may have ended in between
            if any(word.endswith(("train.py", "clock.py")) for word in child.cmdline()):
                found.append(child)
    return found


if __name__ == "__main__":
    sys.exit(main())
