import errno
import gzip
import json
from pathlib import Path

import pytest
import torch

from srgan_dist.utils.profiling import Profiler

CPU = torch.device("cpu")


def run(profiler: Profiler, steps: int) -> None:
    x = torch.rand(16, 16)
    for _ in range(steps):
        x = x @ x
        profiler.step()
    profiler.close()


def test_the_steps_asked_for_are_recorded_with_a_table_of_the_most_expensive_operations(tmp_path: Path):
    run(Profiler(2, tmp_path / "profile", CPU), steps=9)

    trace = json.loads(gzip.decompress((tmp_path / "profile" / "trace.json.gz").read_bytes()))
    products = [e for e in trace["traceEvents"] if e.get("name") == "aten::matmul"]
    assert len(products) == 2
    table = (tmp_path / "profile" / "operations.txt").read_text()
    assert "2 steps" in table
    assert "aten::mm" in table
    assert [f.name for f in (tmp_path / "profile").iterdir() if f.name.startswith(".")] == []


def test_a_run_that_ends_too_early_says_that_nothing_was_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run(Profiler(5, tmp_path / "profile", CPU), steps=2)

    assert "ended before step 6" in caplog.text
    assert not (tmp_path / "profile" / "trace.json.gz").exists()


def test_a_run_that_ends_in_between_keeps_what_was_recorded(tmp_path: Path):
    run(Profiler(50, tmp_path / "profile", CPU), steps=8)

    assert (tmp_path / "profile" / "trace.json.gz").exists()


def test_without_steps_nothing_happens(tmp_path: Path):
    run(Profiler(0, tmp_path / "profile", CPU), steps=3)

    assert not (tmp_path / "profile").exists()


def test_a_full_disk_costs_the_recording_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("srgan_dist.utils.profiling.write_text", full)

    run(Profiler(2, tmp_path / "profile", CPU), steps=9)

    assert "could not be written ([Errno 28] No space left on device)" in caplog.text
