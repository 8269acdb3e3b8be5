import logging
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from srgan_dist.distributed import accelerator
from srgan_dist.distributed.coordination import Decision
from srgan_dist.distributed.group import AgreedError
from srgan_dist.training.presets import preset
from srgan_dist.training.run_state import RunState
from srgan_dist.training.skipped_steps import SkippedSteps

CONFIG = preset("quickstart")
GOOD, BAD = {"pixel": torch.tensor(0.5)}, {"pixel": torch.tensor(float("nan"))}


class NumberedImages:
    """A feed whose images are named after their crops."""

    def describe(self, first: int, count: int) -> str:
        return f"Crops {first} to {first + count - 1} come from 0{first}.png."


def skipped_steps(rank: int = 0, size: int = 1, **config: object) -> SkippedSteps:
    group: Any = SimpleNamespace(
        device=torch.device("cpu"), process_index=rank, num_processes=size, is_main_process=rank == 0,
        local_main_process_first=nullcontext,
    )  # fmt: skip
    feed: Any = NumberedImages()
    return SkippedSteps(replace(CONFIG, **config), group, feed)


def message(steps: SkippedSteps, in_row: int, state: RunState) -> str:
    with pytest.raises(AgreedError) as ended:
        steps.check(Decision("", in_row, 0), state)
    return str(ended.value)


def test_the_crops_that_are_named_are_those_of_the_last_step_with_a_loss_that_is_not_finite():
    steps = skipped_steps(max_skips=3)
    for step, terms in enumerate([GOOD, BAD, BAD, GOOD, GOOD]):
        steps.counts.add(terms, torch.tensor(step > 0), step)

    said = message(steps, 4, RunState(8, step=5, phase=0))

    assert "4 steps in a row had non-finite gradients, up to step 5" in said
    assert "Crops 16 to 23 come from 016.png." in said  # step 2, of 8 crops a step


def test_every_process_names_its_own_share_of_the_step(monkeypatch: pytest.MonkeyPatch):
    steps = skipped_steps(rank=1, size=2, max_skips=1)
    steps.counts.add(BAD, torch.tensor(True), 3)
    monkeypatch.setattr(accelerator, "gather_object", lambda mine: ["Crops of the first process.", *mine])

    said = message(steps, 1, RunState(8, step=4, phase=0))

    assert "Crops of the first process. Crops 28 to 31 come from 028.png." in said


def test_a_bad_first_step_is_named_as_well():
    steps = skipped_steps(max_skips=1)
    steps.counts.add(BAD, torch.tensor(True), 0)

    assert "Crops 0 to 7 come from" in message(steps, 1, RunState(8, step=1, phase=0))


def test_where_only_gradients_overflowed_no_crops_are_blamed():
    steps = skipped_steps(max_skips=1)
    steps.counts.add(GOOD | {"generator_norm": torch.tensor(float("inf"))}, torch.tensor(True), 0)

    said = message(steps, 1, RunState(8, step=1, phase=0))

    assert "The losses were finite on every process; only gradients overflowed." in said
    assert "Crops" not in said


def test_the_run_ends_at_the_number_of_skips_and_not_before():
    steps, state = skipped_steps(max_skips=3), RunState(8, step=9, phase=0)

    steps.check(Decision("", 2, 2), state)

    assert "3 steps in a row" in message(steps, 3, state)


@pytest.mark.parametrize(("phase", "name"), [(0, "pretrain"), (1, "adversarial")])
def test_half_the_learning_rate_of_the_phase_and_half_the_norm_are_advised(phase: int, name: str):
    rate = getattr(CONFIG, name).schedule.learning_rate / 2

    said = message(skipped_steps(max_skips=1, clip_norm=4.0), 1, RunState(8, step=1, phase=phase))
    unclipped = message(skipped_steps(max_skips=1, clip_norm=None), 1, RunState(8, step=1, phase=phase))

    assert f"--{name}.schedule.learning-rate {rate:g} or --clip-norm 2" in said
    assert "or --clip-norm 1" in unclipped


@pytest.mark.parametrize(("rank", "new", "times"), [(0, 2, 1), (0, 0, 0), (1, 2, 0)])
def test_new_skips_are_warned_of_by_the_first_process(
    rank: int, new: int, times: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("srgan_dist"), "propagate", True)

    skipped_steps(rank).check(Decision("", 1, new), RunState(8, step=7, phase=0))

    assert len({r.created for r in caplog.records if "step 7  2 step(s) skipped" in r.getMessage()}) == times
