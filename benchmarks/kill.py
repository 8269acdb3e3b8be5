"""Kills a two-process training run with SIGKILL at random moments and resumes it, many times.

    python benchmarks/kill.py --kills 50

Every kill hits launcher and workers at once, a quarter of them while a checkpoint is being written. The run that was
killed so often must end with the weights of one that was never disturbed, bit for bit.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from srgan_dist import checkpoint

ROOT = Path(__file__).parent.parent


def command(shards: str, run: Path, steps: int, processes: int) -> list[str]:
    many = ["--multi_gpu", "--num_processes", str(processes)] if processes > 1 else []
    config = ["--config_file", str(ROOT / "accelerate_config.yaml")]
    flags = [
        f"--data.shards={shards}", f"--run-dir={run}", f"--pretrain.steps={steps}", f"--adversarial.steps={steps}",
        "--data.hr-crop=32", "--data.batch=2", "--generator.blocks=1", "--generator.channels=8", "--threads=1",
        "--discriminator.channels=4", "--discriminator.dense=8", "--tracking.enabled=False", "--checkpoint.every=20",
        "--validation.every=100000", "--log-every=10",
    ]  # fmt: skip
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *config, *many]
    return [*launcher, str(ROOT / "train.py"), "quickstart", *flags]


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(arguments, cwd=tempfile.gettempdir(), env=env, start_new_session=True, **quiet)


def kill_somewhere(process: subprocess.Popen[bytes], run: Path, rng: random.Random) -> str:
    """Waits for training to go on, then for a random moment, or for a half-written checkpoint; then kills."""
    metrics = run / "metrics.jsonl"
    size = metrics.stat().st_size if metrics.exists() else 0
    while process.poll() is None and (not metrics.exists() or metrics.stat().st_size <= size):
        time.sleep(0.01)
    while_saving = rng.random() < 0.25
    deadline = time.monotonic() + (10 if while_saving else rng.uniform(0, 1.5))
    caught = False
    while time.monotonic() < deadline and process.poll() is None and not caught:
        caught = while_saving and any((run / "checkpoints").glob(".tmp-*"))
        time.sleep(0 if while_saving else 0.01)
    if process.poll() is not None:
        return "finished"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "while saving" if caught else "while training"


def weights(run: Path) -> list[torch.Tensor]:
    state = checkpoint.load_latest(run / "checkpoints")
    assert state is not None

    def tensors(tree: object) -> list[torch.Tensor]:
        values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
        return [tree] if isinstance(tree, torch.Tensor) else [t for v in values for t in tensors(v)]

    return tensors(state["players"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4000, help="of each phase")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shards", default=str(ROOT / "shards" / "sample-x2"), help="any shards at x2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, rng = Path(tempfile.mkdtemp(prefix="srgan-kill-")), random.Random(options.seed)

    def run(name: str) -> list[str]:
        return command(options.shards, folder / name, options.steps, options.processes)

    begun = time.monotonic()
    assert start(run("whole")).wait() == 0, "the undisturbed run failed"
    print(f"undisturbed run: {time.monotonic() - begun:.0f} s")
    outcomes: list[str] = []
    while len(outcomes) < options.kills:
        outcome = kill_somewhere(start(run("killed")), folder / "killed", rng)
        if outcome == "finished":
            break
        outcomes.append(outcome)
        print(f"kill {len(outcomes)}: {outcome}", flush=True)
    assert start(run("killed")).wait() == 0, "the last resume failed"
    same = all(torch.equal(a, b) for a, b in zip(weights(folder / "whole"), weights(folder / "killed"), strict=True))
    saving = outcomes.count("while saving")
    print(f"{len(outcomes)} kills, {saving} of them while saving; every resume went on; same weights: {same}")
    shutil.rmtree(folder)
    return 0 if same and len(outcomes) == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
