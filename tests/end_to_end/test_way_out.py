"""The way out that a message names is open: its own words, on the same run directory, and the run goes on."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from srgan_dist.cli.console import STOPPED
from srgan_dist.cli.train import train_main
from srgan_dist.runs import checkpoint
from srgan_dist.training.trainable import Networks
from srgan_dist.training.validation import Validation
from tests.conftest import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def train(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`train.py quickstart` with the given flags on a run of four steps in each phase."""
    monkeypatch.chdir(tmp_path)
    steps = ("--pretrain.steps=4", "--adversarial.steps=4", "--tracking.enabled=False", "--validation.every=2",
             "--checkpoint.every=2", "--run-dir=run")  # fmt: skip
    return lambda *flags: train_main(["quickstart", "--data.shards", str(shards), *TINY, *steps, *flags])


def fail_at(call: int, monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> None:
    """The device runs out of memory at one call of a method, once."""
    real, calls = getattr(kind, name), iter(range(10_000))

    def method(self: object, *args: object, **how: object) -> object:
        if next(calls) == call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, *args, **how)

    monkeypatch.setattr(kind, name, method)


def advised(said: str) -> list[list[str]]:
    """The ways that a message names: flags with their values, one after the other."""
    flag = r"--[\w.-]+[ =][\w./+-]*\w"
    ways = re.findall(f"{flag}(?: {flag})*", said)
    return [shlex.split(way) for way in ways]


def done(run: Path = Path("run")) -> bool:
    return json.loads((run / "status.json").read_text())["state"] == "done"


@pytest.mark.parametrize("way", [0, pytest.param(1, marks=pytest.mark.extended)])
def test_out_of_memory_while_training(train, monkeypatch, capsys, way):
    fail_at(3, monkeypatch, Networks, "update")
    assert train("--mixed-precision=no") == 1
    ways = advised(capsys.readouterr().err)
    assert [w[0] for w in ways] == ["--data.batch", "--mixed-precision"]

    assert train(*ways[way]) == 0

    assert done()
    assert checkpoint.load_latest(Path("run/checkpoints"))["crops_per_step"] == 2


def test_epochs_are_counted_in_the_crops_per_step_that_the_run_began_with(train):
    flags = ("--pretrain.epochs=1.6", "--adversarial.steps=0")  # 10 images in steps of 2: 8 steps
    assert train(*flags, "--time-limit=0.00001") == STOPPED
    begun = checkpoint.load_latest(Path("run/checkpoints"))
    two = begun | {"crops_per_step": 4}  # as if two processes had begun it: 4 steps
    checkpoint.save(Path("run/checkpoints"), begun["step"], two, keep=1, best=None)

    assert train(*flags) == 0

    assert checkpoint.load_latest(Path("run/checkpoints"))["step"] == 4


def test_out_of_memory_while_validating(train, monkeypatch, capsys):
    fail_at(1, monkeypatch, Validation, "__call__")
    assert train() == 1
    ways = advised(capsys.readouterr().err)
    assert ways == [["--validation.side", "24"]]

    assert train(*ways[0]) == 0

    assert done()


@pytest.mark.parametrize("way", [0, pytest.param(1, marks=pytest.mark.extended)])
def test_steps_without_a_finite_gradient(train, monkeypatch, capsys, way):
    from srgan_dist.training import steps

    real, calls = steps.pixel_loss, iter(range(10_000))
    with monkeypatch.context() as patch:
        patch.setattr(steps, "pixel_loss", lambda *a: real(*a) * (float("nan") if next(calls) > 4 else 1))
        assert train("--max-skips=2") == 1
    said = capsys.readouterr().err
    ways = advised(said[said.index("resume with") :])
    assert [w[0] for w in ways] == ["--adversarial.schedule.learning-rate", "--clip-norm"]

    assert train(*ways[way]) == 0

    assert done()
    recorded = json.loads(Path("run/environment.json").read_text())["sessions"][-1]["changed"]
    assert len(recorded) == 1


def test_other_crops_per_step(train, capsys):
    assert train("--time-limit=0.00001") == STOPPED
    capsys.readouterr()
    assert train("--accumulate=2") == 1
    ways = advised(re.search(r"--data\.batch \d+", capsys.readouterr().err)[0])

    assert train("--accumulate=2", *ways[0]) == 0

    assert done()


def test_another_seed_starts_a_new_run_from_the_weights_of_the_old_one(train, capsys):
    assert train() == 0
    capsys.readouterr()
    assert train("--seed=1") == 1
    said = capsys.readouterr().err
    way = advised(said[said.index("--weights") :])[0]
    assert way == ["--weights", "run", "--run-dir", "run-2"]

    assert train("--seed=1", *way) == 0

    assert done(Path("run-2"))


def test_a_finished_run_started_again_says_so_and_evaluates_nothing(train, monkeypatch, capfd):
    assert train() == 0
    before = {f: f.stat().st_mtime_ns for f in Path("run").rglob("*") if f.is_file()}
    table = capfd.readouterr().out

    assert train() == 0

    said = capfd.readouterr()
    assert "run is finished" in said.err
    assert said.out == table
    assert {f: f.stat().st_mtime_ns for f in Path("run").rglob("*") if f.is_file()} == before


def test_a_finished_run_trains_on_with_more_steps_and_its_optimizers(train, capfd):
    assert train() == 0
    way = re.search(r"--adversarial\.steps N", "" if train() else capfd.readouterr().err)[0].replace("N", "6")

    assert train(*shlex.split(way)) == 0

    content = checkpoint.load_latest(Path("run/checkpoints"))
    assert (content["step"], content["phase"], content["phase_over"]) == (10, 1, True)
    counts = {int(s["step"]) for s in content["networks"]["networks"][1]["optimizer"]["state"].values()}
    assert counts == {6}  # not begun anew


def test_a_run_that_failed_before_anything_was_saved_leaves_nothing_that_refuses_the_corrected_command(
    train, monkeypatch
):
    fail_at(0, monkeypatch, Networks, "update")
    assert train("--seed=1", "--generator.blocks=2") == 1

    assert train() == 0

    assert done()
    assert json.loads(Path("run/config.json").read_text())["seed"] == 0


def test_a_run_whose_checkpoints_are_all_corrupt_does_not_begin_again_by_itself(train, capsys):
    assert train("--time-limit=0.00001") == STOPPED
    for file in Path("run/checkpoints").glob("step-*/state.pt"):
        file.write_bytes(b"no")

    assert train() == 1

    assert "checkpoints in run/checkpoints are corrupt" in capsys.readouterr().err


def test_accumulation_asked_of_the_launcher_is_refused_with_our_flag(train, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
        assert train() == 1
    ways = advised(capsys.readouterr().err)
    assert ways == [["--accumulate", "2"]]

    assert train(*ways[0]) == 0


def test_phases_that_would_share_a_file_are_refused_at_the_start(train, capsys):
    assert train("--pretrain.label=mine", "--adversarial.label=MINE") == 2

    assert "would both be saved as mine.safetensors" in capsys.readouterr().err
    assert not Path("run").exists()


def test_no_validation_images_turn_validation_off(train):
    assert train("--validation.images=0") == 0

    assert not any("validation/" in line for line in Path("run/metrics.jsonl").read_text().splitlines())
