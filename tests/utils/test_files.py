import os
import subprocess
import sys
from pathlib import Path

import pytest

from srgan_dist.utils import files
from tests.conftest import ROOT, environment


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there, processes do not fork")
def test_a_process_killed_between_write_and_rename_leaves_every_kind_of_file_as_it_was(tmp_path: Path):
    program = [sys.executable, "-m", "tests.utils.killed_writes", str(tmp_path)]

    ran = subprocess.run(program, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)

    lines = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stderr
    assert len(lines) >= 13
    assert not [line for line in lines if not line.endswith("exit 9, stands")]


def test_an_output_appears_under_its_name_only_when_it_is_complete(tmp_path: Path):
    file = tmp_path / "a.txt"

    with files.atomic_output(file) as out:
        out.write(b"half")
        assert not file.exists()

    assert file.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(is_folder: bool, tmp_path: Path):
    target = tmp_path / "a"
    files.write_text("old", target)

    def fail() -> None:
        with files.atomic_path(target) as partial:
            if is_folder:
                partial.mkdir()
            (partial / "b" if is_folder else partial).write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path):
    file = tmp_path / "a"

    with files.atomic_output(file) as first:
        first.write(b"first")
        files.write_text("second", file)
        assert file.read_text() == "second"

    assert file.read_text() == "first"


def test_the_longest_name_that_a_file_system_takes_can_be_written(tmp_path: Path):
    for name in ("n" * 250, "é" * 120):
        files.write_text("x", tmp_path / name)

        assert (tmp_path / name).read_text() == "x"


def test_the_content_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda d: calls.append("sync") or sync(d))
    monkeypatch.setattr(files.os, "replace", lambda a, b: calls.append("rename") or rename(a, b))

    with files.atomic_path(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "a").touch()
        (partial / "b").touch()

    assert calls == ["sync", "sync", "rename", "sync"]  # both files, and at last the entry in the folder


def test_an_output_that_cannot_be_written_is_named_in_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "a.json"

    with pytest.raises(ValueError, match=r"a\.json: cannot be written \("), files.output_errors(target):
        files.write_text("x", target)


def test_the_folder_of_an_output_is_made(tmp_path: Path):
    target = tmp_path / "new" / "a.json"

    with files.output_errors(target):
        files.write_text("x", target)

    assert target.read_text() == "x"


def test_a_line_is_appended_after_a_line_that_was_cut_off(tmp_path: Path):
    file = tmp_path / "a.jsonl"

    files.append_line("one", file)
    with file.open("a") as out:
        out.write("tw")
    files.append_line("three", file)
    files.append_line("four", file)

    assert file.read_text() == "one\ntw\nthree\nfour\n"


@pytest.mark.parametrize("stem", ["x" * 252, "ü" * 200, "b\udcff" * 150, "a.b" * 90])
def test_a_name_that_is_too_long_is_shortened_and_stays_its_own(stem: str, tmp_path: Path):
    name, other = files.fitting_name(stem, ".png"), files.fitting_name(f"{stem}2", ".png")

    assert len(os.fsencode(name)) <= 255
    assert name.endswith(".png")
    assert name != other
    files.write_text("", tmp_path / name)
    assert files.fitting_name("short", ".png") == "short.png"


@pytest.mark.parametrize("name", ["x" * 250, "x" * 255, "画" * 85, "\udcff" * 255])
def test_a_file_with_the_longest_name_is_written(name: str, tmp_path: Path):
    files.write_text("a", tmp_path / name)

    assert [f.name for f in tmp_path.iterdir()] == [name]


def in_use(code: int | None) -> PermissionError:
    error = PermissionError(13, "The process cannot access the file")
    error.winerror = code
    return error


def test_renaming_waits_on_windows_for_a_program_that_reads_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rename, refusals = os.replace, [in_use(32), in_use(5)]
    pauses: list[float] = []
    monkeypatch.setattr(files.time, "sleep", pauses.append)

    def refusing(a: Path, b: Path) -> None:
        if refusals:
            raise refusals.pop()
        rename(a, b)

    monkeypatch.setattr(files.os, "replace", refusing)
    files.write_text("x", tmp_path / "a")

    assert (tmp_path / "a").read_text() == "x"
    assert len(pauses) == 2


@pytest.mark.parametrize(("code", "attempts"), [(None, 1), (32, 41)])
def test_renaming_that_is_not_allowed_ends(
    code: int | None, attempts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tried: list[Path] = []

    def refuse(a: Path, b: Path) -> None:
        tried.append(b)
        raise in_use(code)

    monkeypatch.setattr(files.os, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", lambda _: None)

    with pytest.raises(PermissionError):
        files.write_text("x", tmp_path / "a")

    assert len(tried) == attempts
    assert not list(tmp_path.iterdir())
