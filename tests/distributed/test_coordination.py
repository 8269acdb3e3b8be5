import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from srgan_dist.cli.console import STOPPED
from srgan_dist.cli.train import train_main
from srgan_dist.distributed import coordination
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


FINE, NAN = torch.tensor(0.5), torch.tensor(float("nan"))


def counts(*steps: tuple[str, bool]) -> tuple[int, int, int | None]:
    """What is read after steps with one term that is not finite, or none, skipped or not."""
    skips = Skips(torch.device("cpu"))
    for number, (bad, skipped) in enumerate(steps):
        terms = {"pixel": FINE, "generator_norm": FINE} | ({bad: NAN} if bad else {})
        skips.add(terms, torch.tensor(skipped), number)
    return skips.read()


def test_skipped_steps_in_a_row_are_counted_anew_after_a_good_one_and_those_in_all_are_not():
    good, skipped = ("", False), ("", True)

    assert counts(skipped, skipped)[:2] == (2, 2)
    assert counts(skipped, skipped, good)[:2] == (0, 2)
    assert counts(skipped, skipped, good, skipped)[:2] == (1, 3)


def test_a_step_is_this_processs_fault_where_its_own_loss_was_not_finite():
    assert counts(("", False), ("pixel", True), ("pixel", True), ("", True), ("", False)) == (0, 3, 2)
    assert counts(("pixel", True), ("", True)) == (2, 2, 0)
    assert counts(("pixel", False), ("", False)) == (0, 0, 0)  # of which the step is told, though it was not skipped


def test_a_norm_that_is_not_finite_may_be_another_processs_fault():
    assert counts(("generator_norm", True), ("discriminator_norm", True)) == (2, 2, None)


@pytest.fixture
def coordinators() -> Iterator[Callable[..., StopCoordinator]]:
    """Makes coordinators of this process, which restore the signals in the end."""
    made: list[StopCoordinator] = []

    def make(run: Path, time_limit: float | None = None, accelerator: Any = None) -> StopCoordinator:
        made.append(StopCoordinator(accelerator or Accelerator(cpu=True), run, time_limit))
        return made[-1]

    yield make
    for coordinator in reversed(made):
        coordinator.close()


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(coordination, "time", made)
    return made


def reason(coordinator: StopCoordinator, step: int = 1) -> str:
    return coordinator.decide(step, Skips(torch.device("cpu"))).stop


def test_a_stop_file_that_was_left_over_is_removed_at_the_start(coordinators: Callable, tmp_path: Path):
    (tmp_path / "STOP").touch()

    coordinator = coordinators(tmp_path)

    assert not (tmp_path / "STOP").exists()
    assert reason(coordinator) == ""
    (tmp_path / "STOP").touch()
    assert reason(coordinator) == "STOP file"


def test_only_the_first_process_removes_a_stop_file(coordinators: Callable, tmp_path: Path):
    (tmp_path / "STOP").touch()

    coordinators(tmp_path, accelerator=SimpleNamespace(is_main_process=False))

    assert (tmp_path / "STOP").exists()


def test_the_second_ctrl_c_ends_the_program_at_once(coordinators: Callable, tmp_path: Path):
    coordinator = coordinators(tmp_path)

    signal.raise_signal(signal.SIGINT)
    assert reason(coordinator) == "signal"
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_scheduler_that_asks_again_is_patient(second: signal.Signals, coordinators: Callable, tmp_path: Path):
    coordinator = coordinators(tmp_path)

    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(second)

    assert reason(coordinator) == "signal"


def test_the_previous_handlers_of_signals_come_back(tmp_path: Path):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    coordinator = StopCoordinator(Accelerator(cpu=True), tmp_path, None)
    during = {number: signal.getsignal(number) for number in before}

    coordinator.close()

    assert all(during[number] != before[number] for number in before)
    assert {number: signal.getsignal(number) for number in before} == before


def test_the_time_limit_is_in_minutes(coordinators: Callable, clock: Clock, tmp_path: Path):
    coordinator = coordinators(tmp_path, time_limit=1.5)

    clock.now += 89
    before = reason(coordinator)
    clock.now += 2

    assert before == ""
    assert reason(coordinator) == "time limit"


def test_a_launcher_that_is_gone_stops_the_run(coordinators: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parent = os.getppid()
    monkeypatch.setattr(coordination, "find_launcher", lambda: SimpleNamespace(pid=parent))
    alive = coordinators(tmp_path)
    monkeypatch.setattr(coordination, "find_launcher", lambda: SimpleNamespace(pid=parent + 1))
    gone = coordinators(tmp_path)  # another process has become this one's parent

    assert reason(alive) == ""
    assert reason(gone) == "launcher exited"


def test_a_launcher_that_is_gone_is_noticed_where_its_orphans_are_not_adopted(
    coordinators: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(coordination, "find_launcher", lambda: SimpleNamespace(pid=ended.pid))
    monkeypatch.setattr(os, "getppid", lambda: ended.pid)  # as on Windows

    assert reason(coordinators(tmp_path)) == "launcher exited"


def test_every_signal_of_the_system_that_asks_for_an_end_stops_the_run(coordinators: Callable, tmp_path: Path):
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            coordinator = coordinators(tmp_path)
            signal.raise_signal(getattr(signal, name))
            assert reason(coordinator) == "signal", name
            coordinator.close()


def test_a_decision_tells_of_the_steps_skipped_since_the_one_before(coordinators: Callable, tmp_path: Path):
    coordinator, skips, found = coordinators(tmp_path), Skips(torch.device("cpu")), []

    for step, skipped in enumerate([True, True, False, True, False]):
        skips.add({"pixel": FINE}, torch.tensor(skipped), step)
        decision = coordinator.decide(step + 1, skips)
        found.append((decision.skipped_in_row, decision.new_skips))

    assert found == [(1, 1), (2, 1), (0, 0), (1, 1), (0, 0)]


def decisions(coordinator: StopCoordinator, clock: Clock, seconds_per_step: float, steps: int) -> list[int]:
    """The steps after which was decided."""
    found, skips = list[int](), Skips(torch.device("cpu"))
    for step in range(1, steps + 1):
        clock.now += seconds_per_step
        if coordinator.due(step):
            coordinator.decide(step, skips)
            found.append(step)
    return found


def test_at_a_steady_pace_decisions_come_once_a_second(coordinators: Callable, clock: Clock, tmp_path: Path):
    found = decisions(coordinators(tmp_path), clock, seconds_per_step=1 / 64, steps=1000)

    # From the first step on at most twice as many steps as the time before, then 64 of them.
    gaps = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert found[0] == 1
    assert gaps[:6] == [2, 4, 8, 16, 32, 64]
    assert set(gaps[6:]) == {64}


def test_steps_that_take_longer_than_a_second_are_all_followed_by_a_decision(
    coordinators: Callable, clock: Clock, tmp_path: Path
):
    assert decisions(coordinators(tmp_path), clock, seconds_per_step=3, steps=6) == [1, 2, 3, 4, 5, 6]


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
