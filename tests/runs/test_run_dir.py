import json
from dataclasses import replace
from pathlib import Path

import pytest

from srgan_dist.runs import run_dir
from srgan_dist.runs.changes import Progress
from srgan_dist.training.config import TrainConfig, as_begun
from srgan_dist.training.presets import preset
from srgan_dist.training.run_state import open_run_dir
from srgan_dist.utils.serialization import to_dict


def config(path: Path, **changes: object) -> TrainConfig:
    return replace(preset("quickstart"), run_dir=path, **changes)


def test_the_same_configuration_opens_the_run_again(tmp_path: Path):
    open_run_dir(config(tmp_path), writes=True)

    open_run_dir(config(tmp_path), writes=True)


def test_a_changed_field_is_refused_with_both_values(tmp_path: Path):
    open_run_dir(config(tmp_path), writes=True)

    with pytest.raises(ValueError, match="seed: 0 in the run, 1 now"):
        open_run_dir(config(tmp_path, seed=1), writes=True, progress=Progress(0, 5, 8, 1))


def test_what_does_not_change_the_training_may_change(tmp_path: Path):
    open_run_dir(config(tmp_path), writes=True)

    open_run_dir(config(tmp_path, log_every=7), writes=True)

    assert json.loads((tmp_path / "config.json").read_text())["log_every"] == 7


def test_blocks_may_be_recomputed_from_a_resume_on(tmp_path: Path):
    plain = replace(preset("esrgan-x4"), run_dir=tmp_path)
    open_run_dir(plain, writes=True)

    open_run_dir(replace(plain, generator=replace(plain.generator, recompute=True)), writes=True)

    assert json.loads((tmp_path / "config.json").read_text())["generator"]["recompute"] is True


def test_metrics_after_the_resumed_step_are_dropped(tmp_path: Path):
    run = open_run_dir(config(tmp_path), writes=True)
    for step in (10, 20, 30):
        run.append_metrics(step, {"loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 4')  # a kill in the middle of a write

    run.truncate_metrics(20)

    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [10, 20]


def test_other_processes_write_nothing(tmp_path: Path):
    run = open_run_dir(config(tmp_path / "run"), writes=False)
    run.status("running", 1)
    run.append_metrics(1, {"loss": 1.0})

    assert not (tmp_path / "run").exists()


def test_a_failure_is_recorded_on_a_full_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    run_dir.fail_run(tmp_path, 3, "first")
    (tmp_path / "status.json").write_text(json.dumps({"state": "running", "step": 1, "note": "x" * 500}))
    monkeypatch.setattr(run_dir, "write_json", full)

    run_dir.fail_run(tmp_path, 7, "the disk is full")

    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["step"], status["reason"]) == ("failed", 7, "the disk is full")


@pytest.mark.parametrize("lacks", [True, False])
def test_a_run_begun_before_there_were_margins_goes_on_without_one(tmp_path: Path, lacks: bool):
    now = replace(preset("real-esrgan-x4"), run_dir=tmp_path)
    assert now.degradation is not None
    before = to_dict(now)
    before["degradation"]["margin"] = 0
    if lacks:
        del before["degradation"]["margin"], before["degradation"]["type"]
    (tmp_path / "config.json").write_text(json.dumps(before))

    resumed = as_begun(now)

    assert resumed == replace(now, degradation=replace(now.degradation, margin=0))
    open_run_dir(resumed, writes=True, progress=Progress(0, 5, 8, 1))
    assert as_begun(now) == resumed  # and so at the next start
    other = replace(now, degradation=replace(now.degradation, margin=64))
    with pytest.raises(ValueError, match=r"degradation.margin: 0 in the run, 64 now"):
        open_run_dir(as_begun(other), writes=True, progress=Progress(0, 5, 8, 1))


def test_a_new_run_has_the_present_defaults(tmp_path: Path):
    now = replace(preset("real-esrgan-x4"), run_dir=tmp_path / "new")

    assert as_begun(now) == now
    assert now.degradation is not None
    assert now.degradation.margin == 144


def test_models_are_named_after_their_labels_in_lower_case_without_spaces():
    assert run_dir.RunDir.model_name("My GAN") == "my-gan.safetensors"


@pytest.mark.parametrize(
    ("changed", "progress", "starts_over"),
    [
        (True, None, True),
        (False, None, False),
        (True, Progress(0, 5, 8, 1), False),
        (False, Progress(0, 5, 8, 1), False),
    ],
)
def test_a_run_starts_over_where_nothing_was_saved_and_its_configuration_has_changed(
    tmp_path: Path, changed: bool, progress: Progress | None, starts_over: bool
):
    before = {"clip_norm": 2.0 if changed else 1.0}

    assert run_dir.RunDir(tmp_path, {"clip_norm": 1.0}, before, False, progress).starts_over == starts_over
