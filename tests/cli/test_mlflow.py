from pathlib import Path
from typing import Any

import pytest

from srgan_dist.cli import mlflow as command
from srgan_dist.cli.app import main
from srgan_dist.tracking import ui_server
from srgan_dist.tracking.ui_server import Page


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_without_a_database_it_fails_and_says_what_to_do(here: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["mlflow"]) == 1

    said = capsys.readouterr().err
    assert str(here / "mlflow.db") in said
    assert "MLFLOW_TRACKING_URI" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("port", ["x", "0", "70000", ""])
def test_a_port_that_is_none_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]):
    assert main(["mlflow", "--port", port]) == 2
    assert "1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(("ended", "code"), [(0, 0), (1, 1), (3, 1)])
def test_the_links_are_printed_the_first_is_opened_and_a_failure_is_one(
    ended: int, code: int, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    opened: list[str] = []
    asked: list[Any] = []

    def serve(uri: str, host: str, port: int, args: list[str], announce: Any) -> int:
        asked.extend((host, port, args))
        announce(f"http://{host}:{port}")
        return ended

    monkeypatch.setattr(ui_server, "find_pages", lambda _: [Page("srgan_dist", "2"), Page("older", "1")])
    monkeypatch.setattr(ui_server, "serve", serve)
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")

    assert main(["mlflow", "--port=5001", "--workers", "2"]) == code

    told = capsys.readouterr()
    assert asked == ["127.0.0.1", 5001, ["--workers", "2"]]
    assert [line.split(": ")[0] for line in told.out.splitlines()] == ["srgan_dist", "older"]
    assert opened == [told.out.splitlines()[0].partition(": ")[2]]
    assert opened[0].startswith("http://127.0.0.1:5001/#/experiments/2/runs?")
    assert ("exit code" in told.err) == bool(code)


@pytest.mark.parametrize("flag", [True, False])
def test_no_browser_is_opened_where_none_is_wanted_or_would_take_the_terminal(
    flag: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command.webbrowser, "open", lambda _: pytest.fail("opened"))

    command._announce("http://a", [], opens=flag)

    assert "http://a" in capsys.readouterr().out


def test_runs_on_a_server_are_shown_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@server:5000")
    monkeypatch.setattr(ui_server, "find_pages", lambda _: [Page("srgan_dist", "2")])

    assert main(["mlflow", "--no-browser"]) == 0

    told = capsys.readouterr().out
    assert "server:5000/#/experiments/2/runs?" in told
    assert "secret" not in told
