from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from srgan_dist.runs.changes import Progress, find_changes, refuse_changes
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.presets import preset
from srgan_dist.utils.serialization import to_dict

CONFIG = replace(
    preset("quickstart"), accumulate=1, data=replace(preset("quickstart").data, batch=8),
    pretrain=replace(preset("quickstart").pretrain, steps=100),
    adversarial=replace(preset("quickstart").adversarial, steps=100),
)  # fmt: skip


def changed(phase: int = 0, done: int = 50, processes: int = 1, **fields: Any) -> list[str]:
    """What a change gives for a run of 8 crops a step that has done so many steps of a phase."""
    now = to_dict(replace(CONFIG, **fields))
    changes = find_changes(to_dict(CONFIG), now)
    refuse_changes(changes, now, Progress(phase, done, 8, processes), Path("runs/mine"))
    return [c.name for c in changes]


def data(batch: int) -> Any:
    return replace(CONFIG.data, batch=batch)


def steps(name: str, count: int) -> dict[str, Any]:
    return {name: replace(getattr(CONFIG, name), steps=count)}


def test_rates_and_the_clipping_norm_may_change_and_are_named():
    slower = replace(CONFIG.pretrain, schedule=replace(CONFIG.pretrain.schedule, learning_rate=1e-5))

    assert changed(pretrain=slower, clip_norm=1.0) == ["clip_norm", "pretrain.schedule.learning_rate"]


def test_what_does_not_change_the_training_is_no_change():
    assert changed(log_every=7, profile=3, threads=2, mixed_precision="bf16") == []


@pytest.mark.parametrize(("batch", "accumulate", "processes"), [(4, 2, 1), (2, 4, 1), (2, 2, 2)])
def test_batch_and_accumulation_may_change_where_a_step_keeps_its_crops(batch: int, accumulate: int, processes: int):
    assert "data.batch" in changed(processes=processes, data=data(batch), accumulate=accumulate)


def test_other_crops_per_step_are_refused_with_the_batch_that_keeps_them():
    with pytest.raises(ValueError, match=r"16 crops instead of 8; --data\.batch 4 keeps them"):
        changed(accumulate=2)
    with pytest.raises(ValueError, match=r"12 crops instead of 8\)"):
        changed(data=data(4), accumulate=3)


@pytest.mark.parametrize(
    ("phase", "done", "change"),
    [(0, 50, steps("pretrain", 50)), (0, 50, steps("pretrain", 500)), (0, 50, steps("adversarial", 7)),
     (1, 100, steps("adversarial", 200)), (1, 30, steps("adversarial", 40))],
)  # fmt: skip
def test_the_steps_of_a_phase_that_is_not_over_may_change(phase: int, done: int, change: dict[str, Any]):
    assert changed(phase, done, **change)


@pytest.mark.parametrize(
    ("phase", "done", "change", "reason"),
    [
        (0, 50, steps("pretrain", 49), "50 steps are already done"),
        (1, 10, steps("pretrain", 200), "this phase is finished"),
    ],
)
def test_steps_of_the_past_are_refused(phase: int, done: int, change: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=reason):
        changed(phase, done, **change)


def test_everything_else_is_refused_with_the_flags_for_a_new_run_from_these_weights(tmp_path: Path):
    run = tmp_path / "mine"
    (tmp_path / "mine-2").mkdir()
    now: TrainConfig = replace(CONFIG, seed=1)
    changes = find_changes(to_dict(CONFIG), to_dict(now))

    with pytest.raises(ValueError, match="seed: 0 in the run, 1 now") as refused:
        refuse_changes(changes, to_dict(now), Progress(0, 1, 8, 1), run)

    assert f"--weights {run} --run-dir {run}-3" in str(refused.value)
