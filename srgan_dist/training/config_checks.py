"""Checks of a training configuration that need neither data nor a device."""

import math
from dataclasses import asdict

from srgan_dist.models.vgg import check_layers
from srgan_dist.runs.changes import PHASES
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.config import TrainConfig
from srgan_dist.utils.usage import UsageError


def check(config: TrainConfig) -> None:
    """Raise UsageError, with field, value and remedy, if a value is not valid for any run."""
    positive = {
        "scale": config.scale, "log_every": config.log_every, "data.batch": config.data.batch,
        "data.hr_crop": config.data.hr_crop, "validation.every": config.validation.every,
        "checkpoint.every": config.checkpoint.every, "checkpoint.keep": config.checkpoint.keep,
        "accumulate": config.accumulate, "max_skips": config.max_skips,
        "gradient_shares_every": config.gradient_shares_every, "validation.side": config.validation.side,
        "data.crops_per_decode": config.data.crops_per_decode, "data.threads": config.data.threads,
        "threads": config.threads, "expect_world_size": config.expect_world_size,
    }  # fmt: skip
    for name, value in positive.items():
        if value is not None and value < 1:
            raise UsageError(f"{name}={value} must be at least 1")
    for phase in PHASES:
        rate = getattr(config, phase).schedule.learning_rate
        if not 0 <= rate < math.inf:
            raise UsageError(f"{phase}.schedule.learning_rate={rate:g} must not be negative or infinite")
    for name, value in {"clip_norm": config.clip_norm, "time_limit": config.time_limit}.items():
        if value is not None and value <= 0:
            raise UsageError(f"{name}={value:g} must be positive")
    if config.data.hr_crop % config.scale:
        below = config.data.hr_crop - config.data.hr_crop % config.scale
        nearest = f"{below} or {below + config.scale}"
        raise UsageError(f"data.hr_crop={config.data.hr_crop} must be a multiple of scale={config.scale}: {nearest}")
    if min(config.pretrain.steps, config.adversarial.steps) < 0 or config.steps == 0:
        raise UsageError("pretrain.steps and adversarial.steps must not be negative, and at least one must be positive")
    _check_phases(config)
    _check_losses(config)
    _check_adversarial(config)
    if not 0 <= config.ema_decay < 1:
        raise UsageError(f"ema_decay={config.ema_decay} must be at least 0 and less than 1; 0 turns averaging off")


def _check_phases(config: TrainConfig) -> None:
    """Raise UsageError if the phases would overwrite each other's files, or if a validation setting is not valid."""
    phases = (config.pretrain, config.adversarial)
    names = [RunDir.model_name(p.label) for p in phases]
    if all(p.steps for p in phases) and names[0] == names[1]:
        raise UsageError(
            f"pretrain.label={phases[0].label!r} and adversarial.label={phases[1].label!r} would both be saved as "
            f"{names[0]}; change one of the labels"
        )
    if config.validation.images < 0:
        raise UsageError(f"validation.images={config.validation.images} must be at least 0; 0 turns validation off")
    for name, number in (("", 0), ("adversarial_", 1)):
        best_by, patience = config.validation.rule(number)
        if patience and best_by == "last":
            raise UsageError(
                f"validation.{name}patience={patience} needs a metric that can improve; set "
                f"validation.{name}best_by to {'niqe' if number else 'psnr_y'}"
            )


def _check_losses(config: TrainConfig) -> None:
    """Raise UsageError if a loss term would teach the opposite, divide by zero, or never do anything."""
    loss, content = config.loss, config.loss.content
    for name, weight in asdict(loss.weights).items():
        if weight < 0:
            raise UsageError(f"loss.weights.{name}={weight:g} must not be negative; 0 leaves the term out")
    if content and min(weight for _, weight in content.layers) < 0:
        raise UsageError("loss.content.layers: the weights of the layers must not be negative")
    if content and content.divisor <= 0:
        raise UsageError(f"loss.content.divisor={content.divisor:g} must be positive; 1 leaves the features unchanged")
    if loss.weights.artifact and not config.ema_decay:
        raise UsageError(
            f"loss.weights.artifact={loss.weights.artifact:g} compares the generator with its moving average, which "
            f"ema_decay={config.ema_decay:g} turns off; set --ema-decay 0.999"
        )


def _check_adversarial(config: TrainConfig) -> None:
    """Raise UsageError if the adversarial phase has no content to keep, or nothing to start from."""
    if not config.adversarial.steps:
        return
    loss, warmup = config.loss, config.discriminator_warmup
    if loss.content:
        check_layers(loss.content.network, [layer for layer, _ in loss.content.layers])
    if not loss.effective_weights.pixel and not loss.vgg:
        raise UsageError(
            "loss.weights.pixel and loss.weights.content are both 0, so that nothing would keep sr similar to hr; set "
            "--loss.weights.pixel 1"
        )
    if config.discriminator_rate <= 0:
        raise UsageError(f"discriminator_rate={config.discriminator_rate} must be positive")
    if warmup < 0 or (warmup >= config.adversarial.steps and config.adversarial.epochs is None):
        raise UsageError(
            f"discriminator_warmup={warmup} must be at least 0 and less than adversarial.steps="
            f"{config.adversarial.steps}"
        )
    if warmup and not config.pretrain.steps and config.weights is None and config.adversarial_weights is None:
        raise UsageError(
            f"discriminator_warmup={warmup} and pretrain.steps=0 fine-tune a trained generator; name it with --weights "
            "FILE (an exported file, a run, or a published .pth)"
        )
