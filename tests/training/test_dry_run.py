from dataclasses import replace
from pathlib import Path

import pytest

from srgan_dist.cli.parsing import parse
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.dry_run import _STEPS, _shortened, rehearse
from srgan_dist.training.presets import preset
from tests.conftest import TINY


def test_the_step_that_is_measured_is_not_one_that_measures_gradients_too():
    short = _shortened(preset("srgan-x4"), Path("run"))

    measured = (_STEPS, 2 * _STEPS)
    probing = [step for step in range(1, 2 * _STEPS + 1) if step % short.gradient_shares_every == 0]
    assert not set(measured) & set(probing)
    assert any(step > _STEPS for step in probing)  # its memory counts
    assert short.profile == 0


def test_phases_in_epochs_are_short_too_and_are_estimated_in_full(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config = parse(
        TrainConfig, [*TINY, "--data.shards", str(shards), "--pretrain.epochs=200"], "", preset("quickstart")
    )

    said = rehearse(replace(config, adversarial=replace(config.adversarial, steps=0)))

    assert "SRResNet: 1000 steps of" in said  # 200 x 10 images / 2 crops
    assert said.startswith("ready to train: ran 3 steps, validated, saved, and resumed at step 3\ntotal: about ")
    assert "  data.batch: 2\n" in said
    assert "accumulate" not in said  # which has its default
