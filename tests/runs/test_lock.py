import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srgan_dist.runs import lock
from srgan_dist.runs.lock import RunLock


def held_by(run: Path, **other: object) -> None:
    """A lock that another group has written."""
    run.mkdir(exist_ok=True)
    me = lock._identity()
    (run / lock.FILE).write_text(json.dumps(me | other))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_a_directory_is_held_until_it_is_released(run: Path):
    mine = RunLock(run)

    assert mine.try_acquire()
    mine.check()
    mine.release()

    assert not (run / lock.FILE).exists()


def test_a_living_process_of_this_machine_is_named_and_the_way_to_stop_it(run: Path):
    held_by(run, pid=os.getppid(), started=lock.psutil.Process(os.getppid()).create_time())

    with pytest.raises(ValueError, match=rf"by process {os.getppid()} of this machine; .* touch {run}/STOP"):
        RunLock(run).try_acquire()


def test_a_dead_process_and_another_one_under_its_number_hold_nothing(run: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for other in ({"pid": gone.pid}, {"pid": os.getppid(), "started": 1.0}):
        held_by(run, **other)
        taken = RunLock(run)
        assert taken.try_acquire()
        taken.release()


@pytest.mark.parametrize("other", [{"host": "node7"}, {"boot": "another machine of the same name"}])
def test_another_machine_holds_it_while_it_gives_signs_of_life_and_90_seconds_longer(
    other: dict[str, str], run: Path, caplog: pytest.LogCaptureFixture
):
    logging.getLogger("srgan_dist").propagate = True
    caplog.set_level(logging.INFO)
    held_by(run, pid=1, **other)
    waiting = RunLock(run)

    assert not waiting.try_acquire()
    assert not waiting.try_acquire()
    assert len({id(r) for r in caplog.records if "held by process 1 of " in r.getMessage()}) == 1

    no_progress = time.time() - 91
    os.utime(run / lock.FILE, (no_progress, no_progress))
    assert waiting.try_acquire()
    waiting.release()


def test_a_holder_gives_signs_of_life(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    mine = RunLock(run)
    mine.try_acquire()
    os.utime(run / lock.FILE, (1, 1))

    end = time.monotonic() + 10
    while (run / lock.FILE).stat().st_mtime == 1 and time.monotonic() < end:
        time.sleep(0.01)

    assert (run / lock.FILE).stat().st_mtime > 1
    mine.release()


def test_a_group_that_was_suspended_notices_that_another_one_goes_on(run: Path):
    mine = RunLock(run)
    mine.try_acquire()
    held_by(run, host="node7", pid=1)

    with pytest.raises(ValueError, match="another process has taken over"):
        mine.check()
    mine.release()

    assert json.loads((run / lock.FILE).read_text())["host"] == "node7"  # not ours to remove


def test_of_two_that_find_it_free_at_once_only_one_gets_it(run: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = RunLock(run), RunLock(run)
    monkeypatch.setattr(first, "_holder", lambda: None)  # it has looked before the second one wrote
    assert second.try_acquire()
    monkeypatch.setattr(first, "_is_unreadable", lambda: False)

    assert not first.try_acquire()
    second.release()


def test_a_lock_that_was_cut_off_holds_nothing(run: Path):
    run.mkdir()
    (run / lock.FILE).write_text('{"host": "no')
    mine = RunLock(run)

    assert mine.try_acquire()
    mine.release()
    assert not list(run.iterdir())


def test_a_directory_that_was_deleted_meanwhile_is_named(run: Path):
    mine = RunLock(run)
    mine.try_acquire()
    (run / lock.FILE).unlink()
    run.rmdir()

    with pytest.raises(ValueError, match=rf"{run} was deleted"):
        mine.check()
    mine.release()
