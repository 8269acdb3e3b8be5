import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from srgan_dist.cli.console import STOPPED
from srgan_dist.cli.train import train_main
from srgan_dist.distributed.coordination import Skips, StopCoordinator
from srgan_dist.runs import checkpoint
from tests.conftest import ROOT, TINY, environment


def test_the_first_decisions_after_a_resume_are_steps_apart_however_far_the_run_is(tmp_path: Path):
    coordinator = StopCoordinator(Accelerator(cpu=True), tmp_path, None)
    skips = Skips(torch.device("cpu"))
    try:
        intervals, step = [], 500_001
        for _ in range(5):
            coordinator.decide(step, skips)
            following = next(s for s in range(step + 1, step + 100_000) if coordinator.due(s))
            intervals.append(following - step)
            step = following
    finally:
        coordinator.close()

    assert intervals[0] <= 2
    assert all(later <= 2 * earlier + 1 for earlier, later in itertools.pairwise(intervals))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "resumed"),
    [("STOP file", True), ("SIGTERM", True), ("time limit", True)]
    + [pytest.param(r, False, marks=pytest.mark.extended) for r in ("STOP file", "SIGTERM", "time limit")],
)
def test_a_request_to_stop_is_obeyed_within_two_seconds_however_far_the_run_is(
    request_: str, resumed: bool, shards: Path, tmp_path: Path
):
    run = tmp_path / "run"
    flags = (
        "quickstart", "--data.shards", str(shards), *TINY, f"--run-dir={run}", "--tracking.enabled=False",
        "--pretrain.steps=1000000", "--log-every=100000", "--checkpoint.every=1000000", "--validation.every=1000000",
    )  # fmt: skip
    if resumed:
        assert train_main([*flags, "--time-limit=0.001"]) == STOPPED
        state = checkpoint.load_latest(run / "checkpoints")
        assert state is not None
        checkpoint.save(run / "checkpoints", 500_000, state | {"step": 500_000}, keep=1, best=None)
    limit = ["--time-limit=0.05"] if request_ == "time limit" else []

    trained = subprocess.Popen([sys.executable, ROOT / "train.py", *flags, *limit], env=environment(), cwd=tmp_path)
    try:  # a process of its own: a run that does not look again cannot be stopped from inside
        wait_for(lambda: (run / "status.json").exists() and state_of(run) == "running")
        time.sleep(2 if not limit else 0)
        asked = time.monotonic() + (3 if limit else 0)
        if request_ == "STOP file":
            (run / "STOP").touch()
        elif request_ == "SIGTERM":
            trained.send_signal(signal.SIGTERM)
        wait_for(lambda: state_of(run) == "preempted")
        seconds = time.monotonic() - asked
        code = trained.wait(60)
    finally:
        trained.kill()

    saved = checkpoint.load_latest(run / "checkpoints")
    assert code == STOPPED
    assert saved is not None
    assert (saved["step"] > 500_000) == resumed
    assert seconds < 2 + SLACK


def state_of(run: Path) -> str:
    return json.loads((run / "status.json").read_text())["state"]


SLACK = 13.0
"""Seconds that a machine with many times more work than cores may add."""
