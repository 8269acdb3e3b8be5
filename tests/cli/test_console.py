import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srgan_dist.cli.console import guarded
from srgan_dist.utils.files import atomic_path, write_text
from srgan_dist.utils.terminal import ListedError
from tests.conftest import ROOT

PROGRAM = """
import atexit
from srgan_dist.cli.console import guarded

def run() -> int:
    print("done")
    if {fails}:
        raise ValueError("wrong")
    return 0

atexit.register(print, "torn down")
raise SystemExit(guarded(run))
"""


@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("world", [1, 2])
def test_one_of_several_processes_ends_without_tearing_anything_down(world: int, fails: bool, code: int):
    env = os.environ | {"WORLD_SIZE": str(world)}

    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(fails=fails)], env=env, cwd=ROOT, capture_output=True, text=True
    )

    assert ran.returncode == code
    assert ran.stdout.split("\n")[0] == "done"
    assert ("torn down" in ran.stdout) == (world == 1)


def shell(line: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line of Bash in which `srgan` is this program; its exit code is that of the first command."""
    text = f'set -o pipefail; srgan() {{ "{sys.executable}" -m srgan_dist "$@"; }}; {line}; exit "${{PIPESTATUS[0]}}"'
    return subprocess.run(
        ["bash", "-c", text], env=os.environ | {"PYTHONPATH": str(ROOT)} | env, cwd=ROOT, capture_output=True, text=True
    )


GONE = [
    ("srgan --help | true", 0, ""),
    ("srgan export --help | true", 0, ""),
    ("srgan --version >&-", 0, ""),
    ("srgan pack --help >&- 2>&-", 0, ""),
    ("srgan nonsense 2>&-", 2, ""),
    ("srgan nonsense 2>/dev/full", 2, ""),
    ("srgan --help >/dev/full", 1, "error: standard output cannot be written (No space left on device)\n"),
    ("srgan evaluate --help >/dev/full", 1, "error: standard output cannot be written (No space left on device)\n"),
]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize(("line", "code", "said"), GONE, ids=[g[0] for g in GONE])
def test_output_that_is_gone_is_no_traceback(line: str, code: int, said: str):
    ran = shell(line)

    assert (ran.returncode, ran.stderr) == (code, said)


NAMES = ["shards", "pack", "train", "upscale", "compare", "export", "track", "repro", "mlflow"]


@pytest.mark.extended
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gone", ["| true", ">&-", ">&- 2>&-"])
def test_no_command_has_a_traceback_without_output(name: str, gone: str):
    ran = shell(f"srgan {name} --help {gone}")

    assert (ran.returncode, ran.stderr) == (0, "")


def run_failing(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    def fail() -> int:
        raise error

    fail.__globals__["__name__"] = "srgan_dist.test"
    try:
        assert guarded(fail) == 1
    finally:
        fail.__globals__["__name__"] = __name__
    return capsys.readouterr().err


def test_a_newline_in_a_name_fakes_no_line(capsys: pytest.CaptureFixture[str]):
    assert run_failing(ValueError("a\nerror: b\x1b[2J: no image"), capsys) == "error: a\\nerror: b\\x1b[2J: no image\n"
    assert run_failing(ListedError("two:", "  a\nb"), capsys) == "error: two:\n  a\\nb\n"


def test_a_full_disk_is_one_line_with_the_name_of_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for error in (OSError(errno.ENOSPC, "No space"), RuntimeError("PytorchStreamWriter failed writing file data/1")):
        with pytest.raises(OSError, match="No space left") as caught, atomic_path(tmp_path / "state.pt"):
            raise error
        shown = run_failing(caught.value, capsys)
        hint = "make room, then run the same command again"
        assert shown == f"error: {tmp_path}/state.pt: No space left on device; {hint}\n"


def test_a_file_name_that_is_not_utf8_is_written_and_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture):
    file = tmp_path / os.fsdecode(b"caf\xe9.txt")

    write_text(f"{file.name}\n", file)

    assert file.read_bytes() == b"caf\\udce9\n".replace(b"\n", b".txt\n")
    missing = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(FileNotFoundError) as caught:
        missing.read_bytes()
    assert run_failing(caught.value, capsys) == f"error: {tmp_path}/\\xff: No such file or directory\n"
