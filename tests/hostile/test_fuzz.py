"""Generated files of other people, a few of each kind with fixed seeds; `make fuzz` tries thousands."""

import logging
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.hostile.fuzz import Tally, import_late_modules, prepare, try_input
from tests.hostile.rule import BrokenRule, call, command, watched
from tests.hostile.targets import targets

INPUTS = 10
NAMES = ("manifest", "shard", "tar", "safetensors", "pth", "onnx", "npy", "image", "configuration", "record", "address")


@pytest.fixture(autouse=True)
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever the harness sets in this process is undone."""
    import_late_modules()
    monkeypatch.chdir(tmp_path)
    for name in ("SRGAN_CACHE", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr("srgan_dist.data.shards.remote._ATTEMPTS", 1)
    levels = {name: logging.getLogger(name).level for name in ("srgan_dist", "asyncio", "PIL", "fsspec", "matplotlib")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_a_right_result_or_one_line(name: str):
    target = next(t for t in targets() if t.name == name)
    tally = Tally(name)
    prepare(target)

    @settings(
        max_examples=INPUTS, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(target.inputs)
    def one(content: bytes) -> None:
        try_input(target, content, tally)

    one()

    assert tally.inputs >= INPUTS / 2


def test_every_kind_of_file_is_tried():
    assert tuple(t.name for t in targets()) == NAMES


# The harness itself must notice what it is for.


def test_a_traceback_breaks_the_rule():
    with pytest.raises(BrokenRule, match="traceback"):
        call(lambda: 1 / 0)
    with pytest.raises(BrokenRule, match="traceback"):
        call(lambda: int("x"))  # a ValueError, but not one of this package


def test_a_file_outside_breaks_the_rule(tmp_path: Path):
    (tmp_path / "in").mkdir()
    with pytest.raises(BrokenRule, match="outside: open"), watched(tmp_path / "in"):
        (tmp_path / "out.txt").write_text("x")
    with watched(tmp_path / "in"):
        (tmp_path / "in" / "a.txt").write_text("x")


def test_a_connection_and_a_program_break_the_rule(tmp_path: Path):
    import socket
    import subprocess

    def connect() -> None:
        with watched(tmp_path), socket.socket() as s:
            s.setblocking(False)
            s.connect_ex(("192.0.2.1", 80))

    with pytest.raises(BrokenRule, match=r"connection to 192\.0\.2\.1"):
        connect()
    with pytest.raises(BrokenRule, match=r"subprocess\.Popen"), watched(tmp_path):
        subprocess.run(["true"], check=True)


def test_a_hang_breaks_the_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.hostile.rule.SECONDS", 0.2)
    with pytest.raises(BrokenRule, match="hang"), watched(tmp_path):
        time.sleep(5)


def test_a_wrong_command_is_one_line():
    assert not command("shards", "verify", "/nonexistent")
