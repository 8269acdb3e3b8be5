"""The clock and the records of time to quality; training is run here on a tiny network."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

RUN = {
    "recipe": "cpu-minutes", "seed": 0, "steps": 300, "curve_steps": [0, 100, 300], "seconds": [0.0, 20.0, 100.0],
    "seconds_per_step": 0.3, "crops_per_step": 8, "hr_crop": 96, "parameters": 1000, "flop_per_step": 10**10,
    "commit": "abc", "precision": "bf16", "machine": "two cores", "pace": None,
    "scores": {"set5": {"100": 30.0, "200": 30.95, "300": 31.4}, "choose": {"300": 27.0}},
}  # fmt: skip


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("quality_table")


def write(out: Path, *runs: dict) -> None:
    for run in runs:
        folder = out / run["recipe"] / f"seed-{run['seed']}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(run))


def test_the_clock_is_the_runs_own_or_that_of_a_run_alone(table: ModuleType):
    assert table.clock(RUN, 200) == 60
    assert table.clock(RUN | {"pace": 0.1}, 200) == pytest.approx(20)


def test_a_record_is_the_first_checkpoint_that_reaches_the_goal(table: ModuleType, tmp_path: Path):
    slower = RUN | {"seed": 1, "scores": {"set5": {"100": 30.0, "300": 31.0}}}
    fails = RUN | {"seed": 2, "scores": {"set5": {"300": 30.0}}}
    write(tmp_path, RUN, slower, fails)

    text = table.write_table(tmp_path, None)

    assert "| ESPCN 30.90 dB | cpu-minutes | 1:40 (1:00, 1:40; 1 failed) | 300 | 2,400 | 3 |" in text
    assert "| VDSR 31.35 dB | cpu-minutes | 1:40 (1:40; 2 failed) |" in text
    assert "30.80 (30.00 to 31.40)" in text
    assert Image.open(tmp_path / "curves.png").size == (table.WIDTH, table.HEIGHT)


def test_a_recipe_whose_test_sets_were_not_looked_at_is_listed_without_a_record(table: ModuleType, tmp_path: Path):
    write(tmp_path, RUN | {"scores": {"choose": {"300": 27.0}}})

    text = table.write_table(tmp_path, None)

    assert "dB | cpu-minutes" not in text
    assert "| cpu-minutes | 1k | 1 | 300 | 1.7 | 300.0 | 3 | 27.00 |  |  |" in text


@pytest.mark.slow
def test_a_recipe_is_trained_and_its_checkpoints_give_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    quality = importlib.import_module("quality")
    (tmp_path / "set5").mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "set5" / f"{number}.png")
    tiny = ["mixed-precision=no", "generator.blocks=1", "generator.channels=4", "data.hr-crop=32", "data.batch=2"]
    common = ["cpu-minutes", "--out", str(tmp_path / "out")]

    for arguments in (
        ["train", *common, "--train", str(tmp_path / "set5"), "--steps", "40", "--threads", "1", "--flags", *tiny],
        ["final", *common, "--test", str(tmp_path / "set5")],
    ):
        monkeypatch.setattr(sys, "argv", ["quality.py", *arguments])
        assert quality.main() == 0

    run = json.loads((tmp_path / "out" / "cpu-minutes" / "seed-0" / "run.json").read_text())
    assert [int(step) for step in run["scores"]["set5"]] == list(range(2, 41, 2))
    assert run["seconds"] == sorted(run["seconds"])
    assert run["steps"] == 40
    assert run["flop_per_step"] > 0
