import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from srgan_dist.data.config import DataConfig
from srgan_dist.evaluation.metrics import Scores
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import downscale
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.runs import checkpoint
from srgan_dist.training import trainer
from srgan_dist.training.config import BestBy, ValidationConfig
from srgan_dist.training.presets import preset
from srgan_dist.training.validation import Validation
from tests.conftest import random_image
from tests.tracking.conftest import times

GOOD: Scores = {"psnr_y": 26.0, "ssim_y": 0.7, "niqe": 6.0, "gradient_energy": 0.8, "grid_ratio": 1.1, "color_drift": 1}


class Shards:
    """Held-out images of a size, at x2."""

    scale = 2

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.images = [random_image(*size, seed=n) for n, size in enumerate(sizes)]
        self.keys = [str(n) for n in range(len(sizes))]

    def __len__(self) -> int:
        return len(self.images)

    def hr(self, i: int) -> Pixels:
        return self.images[i]

    def lr(self, i: int) -> Pixels:
        return downscale(self.images[i], 2)


class Repeat(nn.Module):
    """Repeats pixels, as a GAN that has only learned a grid."""

    scale = 2

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))  # says where the network is

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return lr.repeat_interleave(2, 2).repeat_interleave(2, 3)


def validation(config: ValidationConfig, *sizes: tuple[int, int]) -> Validation:
    shards: Any = Shards(*sizes)
    return Validation(config, shards, Accelerator(cpu=True))


def test_scores_are_means_over_crops_beside_those_of_bicubic_and_of_the_original():
    v = validation(ValidationConfig(side=304), (304, 320), (304, 304))

    scores, images = v(Repeat())

    assert [image.shape for image in images] == [(304, 304, 3)] * 2
    assert {"psnr_y", "ssim_y", "niqe", "gradient_energy", "grid_ratio", "color_drift"} == scores.keys()
    assert v.original.keys() == {"niqe", "gradient_energy", "grid_ratio"}
    assert scores["grid_ratio"] > 1.8
    assert "grid" in [name for name, _ in v.warnings(scores)]
    assert "grid" not in [name for name, _ in v.warnings(v.bicubic)]


def test_crops_too_small_for_niqe_are_said_once_and_select_no_checkpoint(caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.getLogger("srgan_dist"), "propagate", True)
    caplog.set_level(logging.INFO, "srgan_dist")

    v = validation(ValidationConfig(side=256), (304, 304))

    assert not v.rates_naturalness
    assert times(caplog, "use validation.side=292 and images of that size") == 1
    assert "niqe" not in v(Repeat())[0]


def test_only_what_is_asked_for_and_what_selects_is_computed():
    v = validation(ValidationConfig(side=304, metrics=("psnr_y",), adversarial_best_by="last"), (304, 304))

    assert v(Repeat())[0].keys() == {"psnr_y", "ssim_y"}
    assert ValidationConfig(metrics=("psnr_y",)).computed() == {"psnr_y", "niqe"}


@pytest.mark.parametrize(
    ("best_by", "changed", "score"),
    [
        ("psnr_y", {}, 26.0), ("ssim_y", {"grid_ratio": 9.0}, 0.7), ("niqe", {}, -6.0), ("topiq", {"topiq": 0.5}, 0.5),
        ("lpips", {"lpips": 0.2}, -0.2), ("niqe", {"grid_ratio": 9.0}, -np.inf), ("lpips", {}, -np.inf),
        ("niqe", {"color_drift": 5.0}, -np.inf), ("niqe", {"niqe": 3.0}, -np.inf),
    ],
)  # fmt: skip
def test_a_higher_score_is_better_and_an_implausible_result_is_never_the_best(
    best_by: BestBy, changed: Scores, score: float
):
    v = validation(ValidationConfig(side=64, metrics=("psnr_y",), adversarial_best_by="last"), (64, 64))
    v.original = {"niqe": 4.9, "grid_ratio": 1.05}

    assert v.score(GOOD | changed, best_by) == score


@pytest.fixture
def adversarial(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, int]]:
    """Train an adversarial phase with scripted validations; return the best checkpoint's name and the last step."""

    def run(*found: Scores, patience: int) -> tuple[str, int]:
        script = iter(GOOD | changed for changed in found)

        class Scripted(Validation):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.original, self.rates_naturalness = {"niqe": 4.9, "grid_ratio": 1.05}, True
                self.bicubic = self.bicubic | {"niqe": 7.6}

            def __call__(self, network: nn.Module) -> tuple[Scores, list[Pixels]]:
                return next(script), [crop.lr for crop in self.crops]

        monkeypatch.setattr(trainer, "Validation", Scripted)
        config = preset("quickstart")
        config = replace(
            config,
            run_dir=tmp_path / "run",
            data=DataConfig(shards=(str(shards),), hr_crop=32, batch=2),
            generator=SRResNetConfig(blocks=1, channels=4, interpolated_skip=True),
            discriminator=VGGDiscriminatorConfig(channels=2, dense=4),
            pretrain=replace(config.pretrain, steps=0),
            adversarial=replace(config.adversarial, steps=len(found)),
            validation=replace(config.validation, every=1, side=48, images=1, adversarial_patience=patience),
            tracking=replace(config.tracking, enabled=False),
            threads=1,
        )
        trainer.train(config)
        checkpoints = tmp_path / "run" / "checkpoints"
        return checkpoint.resolve(checkpoints / "best").name, checkpoint.load_latest(checkpoints)["step"]  # pyright: ignore

    return run


def test_a_phase_whose_psnr_falls_while_niqe_improves_keeps_the_last_and_does_not_stop(adversarial):
    better = [{"psnr_y": 26.0 - 0.2 * n, "niqe": 6.0 - 0.2 * n} for n in range(5)]

    assert adversarial(*better, patience=2) == ("step-00000005", 5)


@pytest.mark.parametrize("cheat", [{"grid_ratio": 3.3}, {"color_drift": 9.0}, {"gradient_energy": 1.6}])
def test_a_phase_that_only_looks_better_to_niqe_keeps_the_earlier_checkpoint(adversarial, cheat: Scores):
    found = [{}, {"niqe": 5.8}, *({"niqe": 5.0 - 0.2 * n} | cheat for n in range(3))]

    assert adversarial(*found, patience=0) == ("step-00000002", 5)


def test_patience_ends_a_phase_that_only_pixelates(adversarial):
    found = [{}, *({"niqe": 5.0 - 0.2 * n, "grid_ratio": 3.3} for n in range(9))]

    assert adversarial(*found, patience=2) == ("step-00000001", 3)
