import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from srgan_dist.training.presets import preset
from srgan_dist.training.reports import run_progress
from srgan_dist.training.reports.run_progress import summary

WINDOW = {"loss/generator": 0.01234, "performance/crops_per_s": 312.4}


def texts(metrics: dict[str, float], psnr_y: float = math.nan, epoch: float | None = None) -> list[str]:
    return [number.text for number in summary(metrics, psnr_y, epoch)]


def test_absent_terms_are_not_shown():
    assert texts({}) == []
    assert texts(WINDOW) == ["loss 0.0123", "312 crops/s"]


def test_loss_psnr_and_pace_come_first_and_the_discriminator_where_there_is_one():
    both = WINDOW | {"loss/discriminator": 0.6123, "discriminator/accuracy": 0.714}

    assert texts(both, 27.341, 3.25) == [
        "loss 0.0123", "PSNR 27.34 dB", "312 crops/s", "D loss 0.612", "D accuracy 71%", "epoch 3.25"
    ]  # fmt: skip


def test_a_discriminator_that_learns_alone_has_its_own_loss():
    alone = {"loss/discriminator": 1.386, "performance/crops_per_s": 3.14}

    assert texts(alone) == ["D loss 1.39", "3.1 crops/s"]


@pytest.mark.parametrize("images", [0, 2])
def test_the_final_evaluation_is_measured_in_validations(images: int):
    config = preset("quickstart")
    config = replace(config, validation=replace(config.validation, images=images, side=100))
    held_out: Any = SimpleNamespace(lr_sizes=np.full((4, 2), 100))  # HR 200x200: four times a crop

    assert run_progress._evaluated_pixels(config, held_out) == (8.0 * 3.5 if images else 0.0)
