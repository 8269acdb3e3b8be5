import io
import logging
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from srgan_dist.utils import progress as module
from srgan_dist.utils.progress import Progress, is_live, progress_bar, start_logging
from srgan_dist.utils.status_line import Number, Status

NUMBERS = [Number(f"{name} 0.0123", "0.0123") for name in ("loss", "PSNR", "crops/s", "D loss")]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Standard error that is a terminal of a width that it does not tell."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    # In the module, because pytest replaces the stream itself before the test begins.
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=made))
    start_logging(True)
    return made


def run(clock: Clock, steps: int, seconds: float, **how: Any) -> None:
    """Steps of a phase, with numbers after each of them."""
    progress = Progress(Status("SRGAN", 0, steps), True, now=clock, **how)
    for _ in range(steps):
        clock.now += seconds
        progress.advance()
        progress.show(NUMBERS)
    progress.close()


def test_a_log_file_gets_the_first_line_one_a_minute_and_the_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    logger = logging.getLogger("srgan_dist")
    monkeypatch.setattr(logger, "handlers", [])  # pytest adds its own if an earlier test has turned propagation off
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.INFO, "srgan_dist"):
        run(Clock(), 30, 10.0)

    steps = [int(record.getMessage().split("step ")[1].split("/")[0]) for record in caplog.records]
    assert steps == [1, 7, 13, 19, 25, 30]
    assert "loss 0.0123" in caplog.records[0].getMessage()


def test_a_terminal_keeps_one_line_a_minute(terminal: Terminal):
    run(Clock(), 30, 10.0)

    lines = terminal.getvalue().replace("\r", "\n").splitlines()
    stays = [line for line in lines if re.match(r"\d\d:\d\d:\d\d  SRGAN", line)]
    assert len(stays) == 5
    assert max(map(len, stays)) <= 79


@pytest.mark.parametrize("left", [lambda: None, lambda: 8000.0])
def test_the_live_line_fits_a_terminal_that_does_not_tell_its_width(terminal: Terminal, left: Callable[[], Any]):
    run(Clock(), 3, 1.0, left=left)

    lines = terminal.getvalue().replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 79
    assert ("2h13m left" in lines[-1]) == (left() is not None)


@pytest.mark.parametrize("name", ["dumb", "xterm"])
def test_a_dumb_terminal_gets_lines(name: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", name)

    run(Clock(), 3, 1.0)

    assert is_live() == (name != "dumb")
    assert ("\r" in terminal.getvalue()) == (name != "dumb")


def test_no_color_is_used(terminal: Terminal):
    run(Clock(), 3, 1.0)

    assert "\x1b" not in terminal.getvalue()


def test_other_processes_show_nothing(terminal: Terminal, caplog: pytest.LogCaptureFixture):
    progress = Progress(Status("SRGAN", 0, 3), visible=False)
    progress.advance()
    progress.show(NUMBERS)
    progress.close()

    assert not terminal.getvalue()
    assert not caplog.records


def test_an_activity_is_shown_as_long_as_it_runs(terminal: Terminal):
    progress = Progress(Status("SRGAN", 0, 3), visible=True)
    with progress.activity("validation"):
        during = terminal.getvalue()
    progress.close()

    assert during.endswith("0/3") or "validation" in during
    assert "validation" not in terminal.getvalue().splitlines()[-1].split("\r")[-1]


def test_a_loop_yields_its_items_in_a_log_file_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=io.StringIO()))

    assert list(progress_bar(range(3), "evaluating")) == [0, 1, 2]
