"""Somebody deletes the run directory of a training that runs: one line, and the command fails."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srgan_dist.cli.train import train_main
from srgan_dist.runs.run_dir import RunDir
from tests.conftest import ROOT, TINY, environment

FLAGS = ("quickstart", *TINY, "--log-every=1", "--pretrain.steps=8", "--adversarial.steps=0", "--checkpoint.every=4")


def assert_one_line(error: str, run: Path) -> None:
    assert "Traceback" not in error, error
    errors = [line for line in error.splitlines() if line.startswith("error")]
    assert errors == [f"error: {run} was deleted while it was in use"], error


@pytest.mark.parametrize("step", [2, 4, 8])
def test_a_deleted_run_directory_is_one_line(
    step: int, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Deleted between two checkpoints, right before one, and right before the last."""
    monkeypatch.chdir(tmp_path)
    run, append = tmp_path / "run", RunDir.append_metrics

    def append_then_delete(self: RunDir, at: int, metrics: dict[str, float]) -> None:
        append(self, at, metrics)
        if at == step and "loss/generator/pixel" in metrics:
            shutil.rmtree(run)

    monkeypatch.setattr(RunDir, "append_metrics", append_then_delete)
    flags = ("--tracking.enabled=False", f"--data.shards={shards}", f"--run-dir={run}")

    assert train_main([*FLAGS, *flags]) == 1

    assert_one_line(capsys.readouterr().err, run)


@pytest.mark.slow
@pytest.mark.extended
def test_a_program_whose_run_directory_is_deleted_ends(shards: Path, tmp_path: Path):
    run = tmp_path / "run"
    flags = ("--pretrain.steps=100000", f"--data.shards={shards}", f"--run-dir={run}")
    command = [sys.executable, "-m", "srgan_dist", "train", *FLAGS, *flags]
    program = subprocess.Popen(command, cwd=tmp_path, env=environment() | {"PYTHONPATH": str(ROOT)}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (run / "checkpoints").is_dir() or not list((run / "checkpoints").glob("step-*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while run.exists() and program.poll() is None:
            shutil.rmtree(run, ignore_errors=True)  # the program may be writing
        _, error = program.communicate(timeout=60)
    finally:
        program.kill()

    assert program.returncode == 1, error
    assert_one_line(error, run)
