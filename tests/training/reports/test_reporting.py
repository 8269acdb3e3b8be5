from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from srgan_dist.training.gan_health import HealthWarning
from srgan_dist.training.losses import Weights
from srgan_dist.training.presets import preset
from srgan_dist.training.reports.reporting import Reporter, final_tags


@pytest.mark.parametrize(("first", "times"), [(True, 1), (False, 0)])
def test_what_all_processes_see_is_warned_of_once(first: bool, times: int, caplog: pytest.LogCaptureFixture):
    reporter: Any = SimpleNamespace(_accelerator=SimpleNamespace(is_main_process=first))

    active = set[str]()
    for step in (7, 8):
        Reporter._warn_of_new(reporter, step, [HealthWarning("at chance", "discriminator at chance")], active)

    assert caplog.text.count("step 7  discriminator at chance") == times


def test_progress_is_told_in_passes_over_the_images_too():
    reporter: Any = SimpleNamespace(_feed=SimpleNamespace(images=400))
    state: Any = SimpleNamespace(step=50, crops_per_step=16)

    assert Reporter.epoch(reporter, state) == 2.0
    reporter._feed.images = None
    assert Reporter.epoch(reporter, state) is None


def test_the_loss_is_the_sum_that_is_trained_on_and_absent_where_none_is():
    loss = replace(preset("quickstart").loss, weights=Weights(pixel=2.0, content=3.0, adversarial=0.5))
    reporter: Any = SimpleNamespace(_config=SimpleNamespace(loss=loss))

    assert Reporter._training_loss(reporter, 0, {"pixel": 0.25}) == {"loss": 0.25}
    assert Reporter._training_loss(reporter, 1, {"pixel": 0.25, "adversarial": 4.0}) == {"loss": 2.5}
    assert Reporter._training_loss(reporter, 1, {"discriminator": 1.0}) == {}


def test_the_final_scores_are_tags_that_are_the_same_for_every_preset():
    means = {
        "SRResNet": {"psnr_y": 27.5, "ssim_y": 0.75},
        "SRGAN": {"psnr_y": 26.25, "ssim_y": 0.7, "niqe": 4.5},
        "bicubic": {"psnr_y": float("nan"), "niqe": 6.0},
        "nearest": {"psnr_y": 20.0},
    }

    assert final_tags(means, ["SRResNet", "SRGAN"]) == {
        "final/psnr_y": "26.250", "final/psnr_y_pretrained": "27.500", "final/ssim_y": "0.7000",
        "final/ssim_y_pretrained": "0.7500", "final/niqe": "4.500", "final/niqe_bicubic": "6.000",
    }  # fmt: skip
    assert final_tags(means, ["SRGAN"]).keys() == {"final/psnr_y", "final/ssim_y", "final/niqe", "final/niqe_bicubic"}


def test_learning_rates_are_those_of_the_last_step():
    config = replace(preset("srgan-x4"), discriminator_rate=0.5)
    reporter: Any = SimpleNamespace(_config=config)
    state: Any = SimpleNamespace(step=1_000_000 + 100_000, phase=1, phase_start=1_000_000)

    before = Reporter._learning_rates(reporter, state)
    state.step += 1
    after = Reporter._learning_rates(reporter, state)

    assert before == {"generator_rate": 1e-4, "discriminator_rate": 0.5e-4}
    assert after == pytest.approx({"generator_rate": 1e-5, "discriminator_rate": 0.5e-5})
