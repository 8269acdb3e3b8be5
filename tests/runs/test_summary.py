import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from srgan_dist.runs import lock
from srgan_dist.runs.summary import summarize

CONFIG = {"pretrain": {"label": "SRResNet", "steps": 60}, "adversarial": {"label": "SRGAN", "steps": 40}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def status(run: Path, state: str, **more: Any) -> None:
    (run / "status.json").write_text(json.dumps({"state": state, "step": 40, "reason": "", "time": time.time()} | more))


def held(run: Path) -> None:
    """A lock of a living process: the one that started the tests."""
    parent = {"pid": os.getppid(), "started": lock.psutil.Process(os.getppid()).create_time()}
    (run / lock.FILE).write_text(json.dumps(lock._identity() | parent))


def metrics(run: Path, *rows: dict[str, Any]) -> None:
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.parametrize(
    ("written", "alive", "state"),
    [
        ("running", True, "running"),
        ("running", False, "stopped"),  # killed
        ("preempted", False, "stopped"),
        ("preempted", True, "running"),  # resumed, and still starting
        ("failed", False, "failed"),
        ("done", False, "done"),
        (None, True, "running"),
        (None, False, "stopped"),
    ],
)
def test_lock_and_status_decide_the_state(written: str | None, alive: bool, state: str, run: Path):
    if written:
        status(run, written, reason="because")
    if alive:
        held(run)

    found = summarize(run)

    assert found.state == state
    assert (found.reason == "because") == (written in ("preempted", "failed") and not alive)


def test_a_killed_run_says_so_and_how_to_resume_it(run: Path):
    status(run, "running")

    assert "was killed; run the same command again" in summarize(run).reason


def test_the_time_left_goes_down_between_two_updates_and_only_while_it_runs(run: Path):
    status(run, "running", seconds_left=1000.0, time=time.time() - 100)
    assert summarize(run).seconds_left is None
    held(run)

    assert summarize(run).seconds_left == pytest.approx(900, abs=5)


def test_the_latest_value_of_each_metric_counts_under_its_name_of_today(run: Path):
    metrics(
        run,
        {"step": 10, "time": 1, "train/pixel": 0.5, "phase": 1.0},
        {"step": 50, "time": 2, "valid/psnr_y": 30.0},
        {"step": 70, "time": 3, "loss/generator/pixel": 0.25, "phase": 2.0},
    )

    found = summarize(run)

    assert found.metrics == {"loss/generator/pixel": 0.25, "validation/psnr_y": 30.0}
    assert (found.phase, found.phase_number, found.step, found.total) == ("SRGAN", 2, 70, 100)


def test_a_run_without_metrics_has_none(run: Path):
    found = summarize(run)

    assert (found.phase, found.step, found.total, found.metrics, found.warnings) == ("", 0, 100, {}, [])


def test_a_line_that_is_being_written_is_left_out(run: Path):
    metrics(run, {"step": 10, "time": 1, "loss/generator": 0.5, "phase": 1.0})
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "time": 2, "loss/gen')

    assert summarize(run).metrics == {"loss/generator": 0.5}


def test_only_warnings_that_are_still_active_are_listed(run: Path):
    metrics(
        run,
        {"step": 10, "time": 1, "phase": 2.0, "health/color_drift": 1.0},
        {"step": 10, "time": 1, "validation/psnr_y": 30.0, "health/valid_grid": 1.0},
        {"step": 20, "time": 2, "phase": 2.0, "health/discriminator_at_chance": 1.0},
    )

    assert summarize(run).warnings == ["discriminator at chance", "grid"]


def test_disk_space_is_that_of_all_files(run: Path):
    before = summarize(run).bytes
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "a").write_bytes(bytes(1234))

    assert summarize(run).bytes == before + 1234


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_another_folder_is_refused_by_name(content: str | None, tmp_path: Path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)

    with pytest.raises(ValueError, match=str(tmp_path)):
        summarize(tmp_path)


def test_nothing_is_written(run: Path):
    held(run)
    before = sorted(f.name for f in run.iterdir())

    summarize(run)

    assert sorted(f.name for f in run.iterdir()) == before
