import errno
import logging
from pathlib import Path

import pytest
import torch

from srgan_dist.runs import checkpoint


def state(step: int) -> dict[str, object]:
    return {"step": step, "weights": torch.full((100,), float(step))}


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_the_newest_comes_back(tmp_path: Path):
    for step in (1, 2, 30):
        checkpoint.save(tmp_path, step, state(step), keep=5, best=None)

    loaded = checkpoint.load_latest(tmp_path)

    assert loaded["step"] == 30
    assert torch.equal(loaded["weights"], state(30)["weights"])


def test_without_a_checkpoint_there_is_nothing(tmp_path: Path):
    assert checkpoint.load_latest(tmp_path / "none") is None


def test_the_latest_and_the_best_are_kept(tmp_path: Path):
    for step in range(1, 7):
        checkpoint.save(tmp_path, step, state(step), keep=2, best=min(step, 3))

    assert names(tmp_path) == {"step-00000003", "step-00000005", "step-00000006", "last", "best"}
    assert checkpoint.resolve(tmp_path / "last").name == "step-00000006"
    assert checkpoint.resolve(tmp_path / "best").name == "step-00000003"


@pytest.mark.parametrize("damage", ["truncate", "remove", "flip"])
def test_a_corrupt_one_is_passed_over_with_a_warning(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    logging.getLogger("srgan_dist").propagate = True
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step), keep=5, best=None)
    file = tmp_path / "step-00000002" / "state.pt"
    content = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(content[:-10])
    elif damage == "remove":
        file.unlink()
    else:
        file.write_bytes(content[:300] + bytes([content[300] ^ 255]) + content[301:])

    loaded = checkpoint.load_latest(tmp_path)

    assert loaded["step"] == 1
    assert "step-00000002" in caplog.text


def test_a_write_that_fails_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoint.save(tmp_path, 1, state(1), keep=1, best=None)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, 2, state(2), keep=1, best=None)

    assert names(tmp_path) == {"step-00000001", "last"}
    assert checkpoint.load_latest(tmp_path)["step"] == 1


def test_what_a_kill_left_behind_is_never_loaded_and_goes_with_the_next_save(tmp_path: Path):
    checkpoint.save(tmp_path, 1, state(1), keep=3, best=None)
    (tmp_path / ".tmp-step-00000002").mkdir()
    (tmp_path / ".tmp-step-00000002" / "state.pt").write_bytes(b"half")

    assert checkpoint.load_latest(tmp_path)["step"] == 1
    checkpoint.save(tmp_path, 3, state(3), keep=3, best=None)
    assert names(tmp_path) == {"step-00000001", "step-00000003", "last"}


def test_a_phase_that_has_no_best_checkpoint_yet_names_none(tmp_path: Path):
    checkpoint.save(tmp_path, 1, state(1), keep=2, best=1)
    checkpoint.save(tmp_path, 2, state(2), keep=2, best=None)

    assert not (tmp_path / "best").exists()


def test_a_best_checkpoint_that_is_gone_is_not_named(tmp_path: Path):
    checkpoint.save(tmp_path, 2, state(2), keep=2, best=1)

    assert not (tmp_path / "best").exists()


def test_intact_is_what_matches_its_hash(tmp_path: Path):
    good, flipped, missing, blank = (checkpoint.save(tmp_path, n, state(n), keep=9, best=None) for n in range(4))
    content = (flipped / "state.pt").read_bytes()
    (flipped / "state.pt").write_bytes(content[:300] + bytes([content[300] ^ 1]) + content[301:])
    (missing / "state.pt").unlink()
    (blank / checkpoint.COMPLETE).write_text("{}")

    assert [checkpoint.is_intact(c) for c in (good, flipped, missing, blank)] == [True, False, False, False]


@pytest.mark.parametrize("damage", ["state.pt", checkpoint.COMPLETE])
def test_a_damaged_checkpoint_is_replaced_when_its_step_is_saved_again(damage: str, tmp_path: Path):
    damaged = checkpoint.save(tmp_path, 5, state(1), keep=2, best=None)
    (damaged / damage).write_bytes(b"damaged")

    saved = checkpoint.save(tmp_path, 5, state(5), keep=2, best=None)

    assert saved == damaged
    assert checkpoint.load_latest(tmp_path)["step"] == 5
    assert names(saved) == {"state.pt", checkpoint.COMPLETE}
