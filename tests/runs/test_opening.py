"""What a run directory opens as: the table in docs/reference/run-directory.md, cell by cell."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from srgan_dist.cli.app import main
from srgan_dist.cli.train import train_main
from srgan_dist.models.files import load_generator
from srgan_dist.runs import checkpoint
from srgan_dist.runs.opening import open_run
from tests.conftest import TINY, write_images

pytestmark = pytest.mark.slow
STATES = {
    "finished": "the finished SRGAN",
    "finished, copied with new file times": "the finished SRGAN",
    "in phase 1": "step 2 of SRResNet",
    "in phase 2": "step 6 of SRGAN",
    "stopped in phase 2": "step 6 of SRGAN",
    "stopped in phase 2, copied with new file times": "step 6 of SRGAN",
    "finished, then trained on": "step 8 of SRGAN",
    "finished by an older version": "the finished SRGAN",
}
"""Of a run of four steps in each phase, and what each opens as."""


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that kept every second checkpoint."""
    run = tmp_path_factory.mktemp("opening") / "run"
    flags = ("--pretrain.steps=4", "--adversarial.steps=4", "--checkpoint.every=2", "--checkpoint.keep=9",
             "--validation.every=2", "--tracking.enabled=False")  # fmt: skip
    assert train_main(["quickstart", "--data.shards", str(shards), *TINY, f"--run-dir={run}", *flags]) == 0
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The run as it stood in one of the states."""
    state: str = request.param
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    if "phase 1" in state or "phase 2" in state:
        last = 2 if "phase 1" in state else 6
        for place in (run / "checkpoints").glob("step-*"):
            if int(place.name[5:]) > last:
                shutil.rmtree(place)
        (run / "models" / "srgan.safetensors").unlink()
        if last == 2:
            (run / "models" / "srresnet.safetensors").unlink()
        status(run, "preempted" if "stopped" in state else "running", last)
    if "trained on" in state:
        status(run, "running", 8)
    if "older" in state:
        (run / "status.json").unlink()
        for name in ("last", "best"):
            (run / "checkpoints" / name).unlink(missing_ok=True)
        (run / "checkpoints" / "last").symlink_to("step-00000008")
        notes = run / "checkpoints" / "step-00000008" / checkpoint.COMPLETE
        notes.write_text(json.dumps({k: v for k, v in json.loads(notes.read_text()).items() if k != "phase"}))
    if "new file times" in state:  # the other way round than they were made
        for age, file in enumerate(sorted(run.rglob("*"), reverse=True)):
            os.utime(file, (1e9 + age, 1e9 + age))
    return run


def status(run: Path, state: str, step: int) -> None:
    (run / "status.json").write_text(json.dumps({"state": state, "step": step, "reason": "", "time": 0}))


@pytest.mark.parametrize(("run", "opens_as"), STATES.items(), indirect=["run"])
def test_what_a_run_opens_as_follows_from_phases_and_status(run: Path, opens_as: str):
    assert open_run(run).about == opens_as


@pytest.mark.parametrize(
    ("run", "opens_as"),
    [pytest.param(*state, marks=[] if state[0] == "in phase 2" else pytest.mark.extended) for state in STATES.items()],
    indirect=["run"],
)
@pytest.mark.parametrize("command", ["upscale", "evaluate", "compare", "export"])
def test_every_command_opens_the_same_model_and_says_which(
    run: Path, opens_as: str, command: str, tmp_path: Path, shards: Path, capfd: pytest.CaptureFixture[str]
):
    images = write_images(tmp_path / "images", 1, size=(24, 24))
    arguments = {
        "upscale": [str(images), str(tmp_path / "out"), "--model", str(run)],
        "evaluate": ["--data", str(shards), "--models", str(run), "--against", "bicubic"],
        "compare": [str(run), "--data", str(shards), "--out", str(tmp_path / "page.html"), "--against", "bicubic"],
        "export": [str(run), "--out", str(tmp_path / "out.onnx.safetensors")],
    }

    assert main([command, *arguments[command]]) == 0

    assert f"{run} opens as {opens_as}" in capfd.readouterr().err


@pytest.mark.extended
@pytest.mark.parametrize(("run", "opens_as"), STATES.items(), indirect=["run"])
def test_a_new_run_starts_from_the_same_weights(run: Path, opens_as: str, shards: Path, tmp_path: Path):
    chosen = open_run(run)
    flags = ("--pretrain.steps=1", "--adversarial.steps=0", "--tracking.enabled=False", f"--weights={run}")

    assert chosen.about == opens_as
    assert train_main(["quickstart", "--data.shards", str(shards), *TINY, *flags, f"--run-dir={tmp_path}/new"]) == 0


@pytest.mark.parametrize("run", ["finished"], indirect=True)
def test_a_checkpoint_can_be_chosen_and_those_that_are_there_are_named(run: Path, caplog: pytest.LogCaptureFixture):
    logging.getLogger("srgan_dist").propagate = True
    caplog.set_level(logging.INFO)

    assert load_generator(run, "2").label == "run step 2"
    assert load_generator(run, "last").label == "run step 8"
    assert "step 2 of SRResNet" in caplog.text
    with pytest.raises(ValueError, match=r"--at 3: .* no such checkpoint; it has 2, 4, 6, 8, last$"):
        load_generator(run, "3")
    with pytest.raises(ValueError, match="no best checkpoint in its current phase"):
        load_generator(run, "best")  # in the adversarial phase nothing is best by PSNR
    with pytest.raises(ValueError, match="is not a run directory"):
        load_generator(run / "models" / "srgan.safetensors", "last")


@pytest.mark.parametrize("run", ["in phase 1"], indirect=True)
def test_the_paths_of_the_named_checkpoints_open(run: Path):
    assert load_generator(run / "checkpoints" / "step-00000002").label == "run step 2"
    checkpoint.save(run / "checkpoints", 3, checkpoint.load(run / "checkpoints" / "step-00000002"), keep=9, best=2)

    assert load_generator(run / "checkpoints" / "best").label == "run step 2"
    assert load_generator(run, "best").label == "run step 2"


@pytest.mark.parametrize("run", ["stopped in phase 2"], indirect=True)
def test_a_corrupt_checkpoint_is_not_opened(run: Path):
    with (run / "checkpoints" / "step-00000006" / "state.pt").open("r+b") as file:
        file.write(b"no")

    assert open_run(run).about == "step 4 of SRResNet"


def test_a_folder_of_models_without_a_configuration_opens_where_there_is_one(tmp_path: Path, whole: Path):
    (tmp_path / "models").mkdir()
    shutil.copy(whole / "models" / "srgan.safetensors", tmp_path / "models")
    assert open_run(tmp_path).about == "the finished srgan"

    shutil.copy(whole / "models" / "srresnet.safetensors", tmp_path / "models")
    with pytest.raises(ValueError, match=r"which of its models is the final one; .* srgan\.safetensors, srresnet"):
        open_run(tmp_path)


def test_best_never_points_to_nothing(tmp_path: Path):
    for step, best in ((1, 1), (2, 1), (3, 1), (4, None)):
        checkpoint.save(tmp_path, step, {"step": step}, keep=2, best=best)
        named = checkpoint.resolve(tmp_path / "best")
        assert named.is_dir() == (best is not None)
    assert not (tmp_path / "best").exists()
