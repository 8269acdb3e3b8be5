import subprocess
import sys
from pathlib import Path

import pytest

from srgan_dist import __version__
from srgan_dist.cli.app import main
from srgan_dist.cli.console import guarded
from srgan_dist.cli.train import train_main
from srgan_dist.training.preset_names import SUMMARIES


def test_help_lists_every_preset_with_its_line(capsys: pytest.CaptureFixture[str]):
    assert train_main(["--help"]) == 0

    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} {line}" in shown for name, line in SUMMARIES.items())


@pytest.mark.parametrize(
    ("program", "args", "nearest"),
    [
        (train_main, ["qickstart"], "quickstart"),
        (train_main, ["srgan-4x"], "srgan-x4"),
        (main, ["evalute"], "evaluate"),
        (main, ["pack", "smaple", "--out", "x"], "sample"),
    ],
)
def test_a_misspelt_name_exits_with_2_and_the_nearest(program, args, nearest, capsys: pytest.CaptureFixture[str]):
    assert program(args) == 2

    assert nearest in capsys.readouterr().err


def test_an_error_for_the_user_is_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = main(["pack", "folder", "--root", str(tmp_path / "none"), "--out", str(tmp_path / "out")])

    err = capsys.readouterr().err
    assert code == 1
    assert err.startswith("error: ")
    assert "none" in err
    assert err.count("\n") == 1


def test_a_bug_shows_where_it_happened(capsys: pytest.CaptureFixture[str]):
    def bug() -> int:
        return int("not a number")

    assert guarded(bug) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_package_runs_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "srgan_dist"], capture_output=True, text=True, check=True)

    assert "srgan COMMAND" in ran.stdout


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0

    assert capsys.readouterr().out == f"srgan_dist {__version__}\n"
