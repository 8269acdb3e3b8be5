"""The presets: the papers' settings as code, and runs for trying things out."""

from dataclasses import replace
from pathlib import Path

from srgan_dist.data.config import DataConfig
from srgan_dist.data.degradations import LightDegradation, RealESRGANDegradation
from srgan_dist.models import (
    CompactConfig,
    RRDBNetConfig,
    SRResNetConfig,
    UNetDiscriminatorConfig,
    VGGDiscriminatorConfig,
)
from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.training.config import CheckpointConfig, LossConfig, PhaseConfig, TrainConfig, ValidationConfig
from srgan_dist.training.losses import ContentConfig, RelativisticGAN, VanillaGAN, Weights
from srgan_dist.training.schedules import CosineSchedule, MilestoneSchedule

# SRGAN Sec. 3.2: 16 crops of 96x96; Adam with beta1 0.9; 10^6 steps of SRResNet at 1e-4 on MSE, then 10^5 at 1e-4 and
# 10^5 at 1e-5 with one discriminator update each. The EMA is ours and does not affect the training.
_SRGAN_X4 = TrainConfig(
    scale=4,
    data=DataConfig(shards=("shards/div2k-x4",), hr_crop=96, batch=16),
    loss=LossConfig(pixel="mse", content=ContentConfig(layers=(("relu5_4", 1.0),)), weights=Weights(adversarial=1e-3)),
    pretrain=PhaseConfig(label="SRResNet", steps=1_000_000, schedule=MilestoneSchedule(learning_rate=1e-4)),
    adversarial=PhaseConfig(
        label="SRGAN", steps=200_000, schedule=MilestoneSchedule(learning_rate=1e-4, milestones=(100_000,), factor=0.1)
    ),
)

# The user's own baseline: 400 DIV2K pairs at x2, crop 96, batch 16, 60 epochs at 1e-4, BCE + VGG MSE + pixel MSE,
# no pretraining. 60 epochs of 400 pairs in batches of 16 are 1500 steps; with other data, the steps follow the epochs.
_NOTEBOOK_X2 = TrainConfig(
    scale=2,
    ema_decay=0.0,
    data=DataConfig(shards=("shards/div2k400-x2",), hr_crop=96, batch=16),
    loss=LossConfig(pixel="mse", weights=Weights(pixel=1.0, content=1.0, adversarial=1e-3)),
    pretrain=PhaseConfig(label="SRResNet", steps=0),
    adversarial=PhaseConfig(label="SRGAN", steps=1500, epochs=60, schedule=MilestoneSchedule(learning_rate=1e-4)),
    validation=ValidationConfig(every=250),
    checkpoint=CheckpointConfig(every=250),
)

# A few minutes on a CPU from start to finish. Not from a paper: the interpolated skip connection starts at bicubic
# quality, L1 and a cosine schedule make the most of few steps, and pixel content needs no VGG weights.
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
    validation=ValidationConfig(every=200, side=304),  # 3 x 3 blocks of NIQE
    checkpoint=CheckpointConfig(every=200),
)

# What `make demo` runs, in minutes on a CPU. Not from a paper: the network of `srgan-x4-small` is trained from scratch
# on L1, then the adversarial phase fine-tunes the shipped SRGAN itself for a moment, without VGG: at this low rate
# the texture that the network learned with VGG stays, and the pixel term keeps the colors.
_DEMO_X4 = replace(
    _QUICKSTART,
    scale=4,
    data=DataConfig(shards=("shards/sample-x4",), hr_crop=64, batch=8),
    generator=SRResNetConfig(blocks=6, channels=48, batch_norm=False, interpolated_skip=True),
    pretrain=PhaseConfig(label="SRResNet trained now", steps=450, schedule=CosineSchedule(learning_rate=1e-3)),
    adversarial_weights=Path("srgan-x4-small"),
    adversarial=PhaseConfig(label="SRGAN fine-tuned now", steps=60, schedule=MilestoneSchedule(learning_rate=1e-5)),
    discriminator_rate=10.0,
    discriminator_warmup=30,
    compare_with=(Path("srresnet-x4-small"), Path("srgan-x4-small")),
)

# ESRGAN Sec. 4.1: 16 crops of 128x128; 10^6 steps on L1 at 2e-4, halved every 2*10^5; then 4*10^5 at 1e-4, halved
# at 50k, 100k, 200k and 300k, with L1 1e-2, VGG conv5_4 before the activation (L1) 1 and relativistic GAN 5e-3.
_ESRGAN_X4 = TrainConfig(
    scale=4,
    data=DataConfig(shards=("shards/div2k-x4",), hr_crop=128, batch=16),
    generator=RRDBNetConfig(),
    loss=LossConfig(
        pixel="l1",
        content=ContentConfig(layers=(("conv5_4", 1.0),), distance="l1", divisor=1.0),
        adversarial=RelativisticGAN(),
        weights=Weights(pixel=1e-2, content=1.0, adversarial=5e-3),
    ),
    pretrain=PhaseConfig(
        label="RRDBNet",
        steps=1_000_000,
        schedule=MilestoneSchedule(learning_rate=2e-4, milestones=(200_000, 400_000, 600_000, 800_000), factor=0.5),
    ),
    adversarial=PhaseConfig(
        label="ESRGAN",
        steps=400_000,
        schedule=MilestoneSchedule(learning_rate=1e-4, milestones=(50_000, 100_000, 200_000, 300_000), factor=0.5),
    ),
)

# Real-ESRGAN Sec. 4.1: 48 crops of 256x256 (over all processes: --data.batch 12 with four of them); 10^6 steps on L1 at
# 2e-4, then 4*10^5 at 1e-4 with L1 1, five VGG layers 1, GAN 0.1 and a U-Net discriminator; EMA 0.999.
_REAL_ESRGAN_X4 = replace(
    _ESRGAN_X4,
    data=DataConfig(shards=("shards/div2k-x4",), hr_crop=256, batch=48),
    degradation=RealESRGANDegradation(),
    discriminator=UNetDiscriminatorConfig(),
    ema_decay=0.999,
    loss=LossConfig(
        pixel="l1",
        content=ContentConfig(
            layers=(("conv1_2", 0.1), ("conv2_2", 0.1), ("conv3_4", 1.0), ("conv4_4", 1.0), ("conv5_4", 1.0)),
            distance="l1",
            divisor=1.0,
        ),
        adversarial=VanillaGAN(),
        weights=Weights(pixel=1.0, content=1.0, adversarial=0.1),
    ),
    pretrain=PhaseConfig(label="RealESRNet", steps=1_000_000, schedule=MilestoneSchedule(learning_rate=2e-4)),
    adversarial=PhaseConfig(label="RealESRGAN", steps=400_000, schedule=MilestoneSchedule(learning_rate=1e-4)),
)

# The small network, trained like Real-ESRGAN. It has no paper of its own; its sizes are the authors' (`compact`).
_COMPACT_X4 = replace(
    _REAL_ESRGAN_X4,
    generator=CompactConfig(),
    pretrain=replace(_REAL_ESRGAN_X4.pretrain, label="Compact"),
    adversarial=replace(_REAL_ESRGAN_X4.adversarial, label="CompactGAN"),
)

# Fine-tuning of a finished generator (`--weights FILE`) with the loss it was trained with. Not in the papers: no pixel
# phase, which would train the GAN's texture away; a low learning rate; a discriminator that learns alone first, because
# it starts untrained against a finished generator; and a light degradation, to be replaced by that of one's own images.
# The logits of a new U-Net with spectral normalization stay near 0 for hundreds of steps, in which the other terms
# blur; a small VGG-style discriminator keeps the texture (benchmarks/RESULTS.md).
_FINETUNED = PhaseConfig(label="FineTuned", steps=20_000, schedule=MilestoneSchedule(learning_rate=1.1e-5))
_FINETUNE = {
    "discriminator_rate": 8.0,
    "discriminator_warmup": 40,
    "pretrain": PhaseConfig(label="Pretrained", steps=0),
    "adversarial": _FINETUNED,
}
_FINETUNE_REAL_ESRGAN_X4 = replace(
    _REAL_ESRGAN_X4,
    data=DataConfig(shards=("shards/div2k-x4",), hr_crop=128, batch=16),
    degradation=LightDegradation(),
    discriminator=VGGDiscriminatorConfig(channels=32, dense=128),
    loss=replace(_REAL_ESRGAN_X4.loss, weights=Weights(pixel=1.0, content=1.0, adversarial=0.05)),
    **_FINETUNE,
)

PRESETS: dict[str, TrainConfig] = {
    "demo-x4": _DEMO_X4,
    "quickstart": _QUICKSTART,
    "srresnet-x4": replace(_SRGAN_X4, adversarial=replace(_SRGAN_X4.adversarial, steps=0)),
    "srgan-x4": _SRGAN_X4,
    "srgan-vgg22-x4": replace(
        _SRGAN_X4, loss=replace(_SRGAN_X4.loss, content=ContentConfig(layers=(("relu2_2", 1.0),)))
    ),
    "srgan-mse-x4": replace(
        _SRGAN_X4, loss=LossConfig(content=None, weights=Weights(pixel=1.0, content=0.0, adversarial=1e-3))
    ),
    "notebook-x2": _NOTEBOOK_X2,
    "esrgan-x4": _ESRGAN_X4,
    "esrgan-celeba-x4": replace(
        _ESRGAN_X4,
        data=replace(_ESRGAN_X4.data, shards=("shards/celeba-x4",)),
        validation=ValidationConfig(metrics=("psnr_y", "ssim_y"), adversarial_best_by="last"),  # too small for NIQE
    ),
    "real-esrgan-x4": _REAL_ESRGAN_X4,
    "compact-x2": replace(_COMPACT_X4, scale=2, data=replace(_COMPACT_X4.data, shards=("shards/div2k-x2",))),
    "compact-x4": _COMPACT_X4,
    "finetune-real-esrgan-x4": _FINETUNE_REAL_ESRGAN_X4,
    "finetune-esrgan-x4": replace(_ESRGAN_X4, **_FINETUNE),
    "finetune-compact-x2": replace(
        _FINETUNE_REAL_ESRGAN_X4,
        scale=2,
        generator=CompactConfig(),
        data=replace(_FINETUNE_REAL_ESRGAN_X4.data, shards=("shards/div2k-x2",)),
    ),
}
"""The presets by name. Their one-line summaries are in `preset_names`, which does not import torch."""


def preset(name: str) -> TrainConfig:
    """Return the configuration of a preset, with its own run directory and MLflow experiment.

    Raises:
        KeyError: if there is no such preset.
    """
    return replace(PRESETS[name], run_dir=Path("runs") / name, tracking=TrackingConfig(experiment=name))
