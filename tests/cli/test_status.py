import json
from pathlib import Path

import pytest

from srgan_dist.cli.app import main
from tests.runs.test_summary import CONFIG, held, metrics, status

ROWS = (
    {"step": 70, "time": 1, "loss/generator": 0.0123, "performance/crops_per_s": 312.4, "phase": 2.0},
    {"step": 70, "time": 2, "validation/psnr_y": 27.341, "validation/psnr_y_bicubic": 25.5},
)


def make(folder: Path, name: str, state: str, alive: bool = False) -> Path:
    run = folder / "runs" / name
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(CONFIG))
    status(run, state, seconds_left=8000.0)
    metrics(run, *ROWS)
    if alive:
        held(run)
    return run


def test_one_run_is_shown_with_its_latest_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make(tmp_path, "mine", "running", alive=True)

    code = main(["status", str(run)])

    told = capsys.readouterr().out
    assert code == 0
    assert told.startswith(f"{run}: running\n")
    for words in (
        "SRGAN (phase 2)",
        "70 of 100 (70%)",
        "2h13m, until about",
        "0.0123",
        "27.34 dB (bicubic 25.50)",
        "312.4 crops/s",
    ):
        assert words in told
    assert "NIQE" not in told
    assert "warnings" not in told


def test_several_runs_are_a_table_of_those_in_runs_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "first", "running", alive=True)
    make(tmp_path, "second", "done")

    code = main(["status"])

    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert head == ["run", "state", "phase", "step", "loss", "PSNR-Y", "left", "disk"]
    assert [row[:4] for row in rows] == [
        ["runs/first", "running", "SRGAN", "70/100"], ["runs/second", "done", "SRGAN", "70/70"]
    ]  # fmt: skip
    assert "2h13m" in rows[0]


@pytest.mark.parametrize(
    ("states", "code"),
    [(("done",), 0), (("done", "preempted"), 75), (("preempted", "failed"), 1), (("running",), 75)],
)
def test_the_exit_code_is_that_of_the_worst_run(states: tuple[str, ...], code: int, tmp_path: Path):
    runs = [make(tmp_path, f"{n}", state) for n, state in enumerate(states)]

    assert main(["status", *map(str, runs)]) == code


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make(tmp_path, "mine", "failed")

    assert main(["status", "--json", str(run)]) == 1

    (found,) = json.loads(capsys.readouterr().out)
    assert (found["run"], found["state"], found["step"]) == (str(run), "failed", 70)
    assert found["metrics"]["validation/psnr_y"] == 27.341


def test_without_runs_it_says_how_to_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    assert main(["status"]) == 1
    assert "srgan status RUN" in capsys.readouterr().err


def test_what_is_in_the_files_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make(tmp_path, "mine", "failed")
    (run / "config.json").write_text(json.dumps({"pretrain": {}, "adversarial": {"label": "\x1b[2J", "steps": 9}}))
    status(run, "failed", reason="\x1b[2Jdone")

    main(["status", str(run)])

    assert "\x1b" not in capsys.readouterr().out
