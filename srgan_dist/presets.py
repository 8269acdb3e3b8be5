"""The papers' tables as code, and two runs for trying things out."""

from dataclasses import replace
from pathlib import Path

from srgan_dist.config import (
    CheckpointConfig,
    ContentConfig,
    LossConfig,
    PhaseConfig,
    TrackingConfig,
    TrainConfig,
    ValidationConfig,
)
from srgan_dist.data.reader import DataConfig
from srgan_dist.losses import Weights
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.schedules import CosineSchedule, MilestoneSchedule

# SRGAN Sec. 3.2: 16 crops of 96x96; Adam with beta1 0.9; 10^6 updates of SRResNet at 1e-4 on MSE, then 10^5
# at 1e-4 and 10^5 at 1e-5, one discriminator update each. The EMA is ours; it does not touch the training.
_SRGAN_X4 = TrainConfig(
    scale=4,
    data=DataConfig(shards=("shards/div2k-x4",), hr_crop=96, batch=16),
    loss=LossConfig(pixel="mse", content=ContentConfig(layer="relu5_4"), weights=Weights(adversarial=1e-3)),
    pretrain=PhaseConfig(label="SRResNet", steps=1_000_000, schedule=MilestoneSchedule(learning_rate=1e-4)),
    adversarial=PhaseConfig(
        label="SRGAN", steps=200_000, schedule=MilestoneSchedule(learning_rate=1e-4, milestones=(100_000,), factor=0.1)
    ),
)

# The user's own baseline: 400 DIV2K pairs at x2, crop 96, batch 16, 60 epochs at 1e-4, BCE + VGG MSE + pixel MSE,
# no pretraining. 60 epochs of 400 pairs in batches of 16 are 1500 updates.
_NOTEBOOK_X2 = TrainConfig(
    scale=2,
    ema_decay=0.0,
    data=DataConfig(shards=("shards/div2k-x2",), hr_crop=96, batch=16),
    loss=LossConfig(pixel="mse", weights=Weights(pixel=1.0, content=1.0, adversarial=1e-3)),
    pretrain=PhaseConfig(label="SRResNet", steps=0),
    adversarial=PhaseConfig(label="SRGAN", steps=1500, schedule=MilestoneSchedule(learning_rate=1e-4)),
    validation=ValidationConfig(every=250),
    checkpoint=CheckpointConfig(every=250),
)

# Small enough for minutes on a CPU, from start to picture. Not from a paper: the interpolated skip starts at
# bicubic quality, L1 and a cosine get the most out of few steps, pixel content needs no VGG weights.
_QUICKSTART = TrainConfig(
    scale=2,
    log_every=25,
    data=DataConfig(shards=("shards/sample-x2",), hr_crop=64, batch=8),
    generator=SRResNetConfig(blocks=4, channels=32, interpolated_skip=True),
    discriminator=VGGDiscriminatorConfig(channels=16, dense=64),
    loss=LossConfig(pixel="l1", content=None, weights=Weights(pixel=1.0, adversarial=5e-3)),
    ema_decay=0.99,
    pretrain=PhaseConfig(label="SRResNet", steps=1000, schedule=CosineSchedule(learning_rate=1e-3)),
    adversarial=PhaseConfig(label="SRGAN", steps=250, schedule=CosineSchedule(learning_rate=3e-4)),
    validation=ValidationConfig(every=200, side=256),
    checkpoint=CheckpointConfig(every=200),
)

PRESETS: dict[str, TrainConfig] = {
    "quickstart": _QUICKSTART,
    "srresnet-x4": replace(_SRGAN_X4, adversarial=replace(_SRGAN_X4.adversarial, steps=0)),
    "srgan-x4": _SRGAN_X4,
    "srgan-vgg22-x4": replace(_SRGAN_X4, loss=replace(_SRGAN_X4.loss, content=ContentConfig(layer="relu2_2"))),
    "srgan-mse-x4": replace(
        _SRGAN_X4, loss=LossConfig(content=None, weights=Weights(pixel=1.0, content=0.0, adversarial=1e-3))
    ),
    "notebook-x2": _NOTEBOOK_X2,
}
"""The runs by name. What each is in a line stands in `preset_names`, which loads without torch."""


def preset(name: str) -> TrainConfig:
    """A preset's run, in its own directory and MLflow experiment.

    Raises:
        KeyError: there is no such preset.
    """
    return replace(PRESETS[name], run_dir=Path("runs") / name, tracking=TrackingConfig(experiment=name))
