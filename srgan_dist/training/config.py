"""The configuration of a training run: the flags of the command line and the fields of `config.json`."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from srgan_dist.data.config import DataConfig
from srgan_dist.data.degradations import DegradationConfig
from srgan_dist.distributed.precision import MixedPrecision
from srgan_dist.models import DiscriminatorConfig, GeneratorConfig, SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.runs.changes import older_values, with_older_defaults
from srgan_dist.runs.run_dir import CONFIG
from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.training.compilation import Compile
from srgan_dist.training.losses import AdversarialConfig, ContentConfig, PixelKind, VanillaGAN, Weights
from srgan_dist.training.optimizers import AdamConfig, OptimizerConfig
from srgan_dist.training.schedules import MilestoneSchedule, Schedule
from srgan_dist.utils.addresses import without_secrets
from srgan_dist.utils.renamed import with_current_names
from srgan_dist.utils.serialization import InvalidConfigError, from_dict, to_dict
from srgan_dist.utils.settings.fields import every_leaf, required_sections
from srgan_dist.utils.settings.settings_files import explain, merged, parse_settings

_LONGEST = 256 << 10
"""Largest configuration file, in bytes."""

log = logging.getLogger("srgan_dist")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss terms."""

    pixel: PixelKind = "mse"
    """Pixel distance; the only loss of the pretraining phase."""

    content: ContentConfig | None = ContentConfig()
    """VGG content loss of the adversarial phase; none uses the pixel term as content, with its own weight, or with the
    weight of content if its own is 0."""

    adversarial: AdversarialConfig = VanillaGAN()
    """GAN loss."""

    weights: Weights = Weights()
    """Weights of the terms in the adversarial phase."""

    @property
    def vgg(self) -> ContentConfig | None:
        """The content loss if it is computed; None if there is none, or its weight is 0."""
        return self.content if self.weights.content else None

    @property
    def effective_weights(self) -> Weights:
        """The weights that are trained with: without `content`, the pixel term takes its place (SRGAN-MSE)."""
        given = self.weights
        return replace(given, pixel=given.pixel or given.content, content=0.0) if self.content is None else given


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """A phase of training."""

    steps: int
    """Optimizer steps of the generator; 0 skips the phase."""

    epochs: float | None = None
    """Length of the phase in passes over the training images, converted to steps; None uses steps."""

    label: str
    """Name of the phase's generator in tables, images and file names."""

    schedule: Schedule = MilestoneSchedule()
    """Learning rate schedule of both networks (see `discriminator_rate`)."""


ValidationMetric = Literal["psnr_y", "ssim_y", "niqe", "lpips", "dists", "topiq"]
BestBy = Literal["last", "psnr_y", "ssim_y", "niqe", "lpips", "dists", "topiq"]
"""Validation metric that selects the best checkpoint of a phase, higher is better; last selects none."""


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Validation on held-out images during training."""

    every: int = 5000
    """Steps between validations; there is another one at the end of each phase."""

    images: int = 8
    """Number of held-out images, counted from the first one; 0 turns validation off."""

    side: int = 512
    """Side of the center crop that is evaluated, in HR pixels; the final evaluation uses full images."""

    metrics: tuple[ValidationMetric, ...] = ("psnr_y", "ssim_y", "niqe")
    """Metrics to compute, besides those that select the best checkpoints. niqe comes with gradient energy, grid ratio
    and color drift; lpips, dists and topiq require the extra srgan-dist[perceptual]."""

    best_by: BestBy = "psnr_y"
    """Metric that selects the best checkpoint of the pretraining phase; last keeps only the latest ones."""

    patience: int = 0
    """End the pretraining phase early after this many validations without improvement; 0 never ends it early."""

    adversarial_best_by: BestBy = "niqe"
    """best_by for the adversarial phase, in which PSNR and SSIM decrease by design (SRGAN Table 2). Results with a
    grid, a color drift, much more detail than HR, or a NIQE far below HR's are never the best."""

    adversarial_patience: int = 0
    """patience for the adversarial phase; 0 never ends it early."""

    def computed(self) -> set[str]:
        """Return the metrics to compute: those asked for, and those that select the best checkpoints."""
        return {*self.metrics, self.best_by, self.adversarial_best_by} - {"last"}

    def rule(self, phase: int) -> tuple[BestBy, int]:
        """Return the metric that selects the best checkpoint of a phase (0 or 1), and the patience."""
        if phase == 0:
            return self.best_by, self.patience
        return self.adversarial_best_by, self.adversarial_patience


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Checkpoints on disk."""

    every: int = 5000
    """Steps between checkpoints; there is another one at the end of each phase."""

    keep: int = 2
    """Number of latest checkpoints to keep, in addition to the best one."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run."""

    scale: int = 4
    """Upscaling factor."""

    run_dir: Path = Path("runs/train")
    """Directory of the run. Repeating the command resumes it."""

    seed: int = 0
    """Seed of crops and initial weights."""

    mixed_precision: MixedPrecision = "auto"
    """auto takes the launcher's setting, else bf16 or fp16 depending on the GPU, and no on the CPU."""

    compile: Compile = "no"
    """Mode of torch.compile for all networks; reduce-overhead uses CUDA graphs. Takes a minute at the first start, then
    steps are faster. Results are equal up to floating-point rounding."""

    deterministic: bool = False
    """Use deterministic CUDA kernels: on the same GPU model and torch version, repeated and resumed runs are
    bit-identical. Slower, and disables --compile. CPU runs are always bit-identical."""

    profile: int = 0
    """Number of steps to record with torch's profiler into the run directory; 0 records none."""

    ema_decay: float = 0.999
    """Decay of the generator's moving average, which is evaluated and exported; 0 turns averaging off."""

    accumulate: int = 1
    """Batches per optimizer step (gradient accumulation). Crops per step = processes x batch x accumulate."""

    clip_norm: float | None = None
    """Clip each network's gradients to this total norm; None does not clip. The norms are always logged."""

    sync_batch_norm: bool | None = None
    """Compute BatchNorm statistics over all processes (CUDA only). None turns it on with several GPUs."""

    max_skips: int = 25
    """Stop after this many consecutive steps with non-finite gradients."""

    time_limit: float | None = None
    """Minutes after which to save a checkpoint and stop; repeating the command resumes the run."""

    gradient_shares_every: int = 500
    """Steps between measurements of each loss term's share in the generator's gradient."""

    log_every: int = 100
    """Steps between two lines of metrics."""

    threads: int | None = None
    """CPU threads per process; None shares the cores evenly. No effect on GPUs."""

    expect_world_size: int | None = None
    """Required number of processes; None accepts any."""

    data: DataConfig = field(default_factory=DataConfig)
    """Training data."""
    degradation: DegradationConfig | None = None
    """Degradation that creates LR from HR on the device; none uses the shards' LR images."""
    generator: GeneratorConfig = field(default_factory=SRResNetConfig)
    """The super-resolution network."""
    weights: Path | None = None
    """Initialize the generator from an exported file, a checkpoint, a run, a published .pth, or a network by its name
    (srgan upscale --help-all lists them)."""
    weights_partial: bool = False
    """Take those of the weights that fit and list the others, instead of refusing a file that does not fit."""
    adversarial_weights: Path | None = None
    """Start the adversarial phase from these weights instead of from the pretrained generator; see weights."""
    discriminator: DiscriminatorConfig = field(default_factory=VGGDiscriminatorConfig)
    """The network that tells real images from generated ones."""
    discriminator_weights: Path | None = None
    """Initialize the discriminator from an exported file, a checkpoint, a run, or a published .pth."""
    discriminator_rate: float = 1.0
    """Learning rate of the discriminator, as a multiple of the generator's."""
    discriminator_warmup: int = 0
    """First steps of the adversarial phase, which update only the discriminator: a trained generator would otherwise
    learn from one that is untrained."""
    optimizer: OptimizerConfig = AdamConfig()
    """Optimizer of both networks."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Loss terms and their weights."""
    pretrain: PhaseConfig = PhaseConfig(steps=1_000_000, label="SRResNet")
    """First phase: the generator alone, on the pixel loss (SRGAN Sec. 3.2)."""
    adversarial: PhaseConfig = PhaseConfig(steps=200_000, label="SRGAN")
    """Second phase: both networks, starting from the pretrained generator."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Validation on held-out images."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    compare_with: tuple[Path, ...] = ()
    """Further models to show in the evaluation at the end: files, runs, or networks by their names."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Tracking with MLflow."""

    @property
    def compilation(self) -> Compile:
        """The effective compilation mode: none for deterministic runs."""
        return "no" if self.deterministic else self.compile

    @property
    def steps(self) -> int:
        """Optimizer steps of the generator over both phases."""
        return self.pretrain.steps + self.adversarial.steps


def read_config(file: Path, base: TrainConfig | None = None) -> TrainConfig:
    """Read a configuration from a run's `config.json`, or from any YAML or JSON file.

    Args:
        file: The file.
        base: The values of fields that the file lacks; by default those of `TrainConfig`. A section of another `type`
            replaces that of `base` completely.

    Raises:
        ValueError: if the file is not readable, or contains an unknown key (the message names its line and the closest
            known one) or a value of the wrong type.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST + 1)
        settings = with_current_names(parse_settings(content, _LONGEST))
    except OSError as error:
        raise ValueError(f"--config {file}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"--config {file}: {error}") from error
    if file.name == CONFIG:
        settings = with_older_defaults(settings)
    try:
        return from_dict(
            TrainConfig, merged(to_dict(base or TrainConfig()), settings, required_sections(TrainConfig()))
        )
    except InvalidConfigError as error:
        names = [f.name for f in every_leaf(TrainConfig())]
        raise ValueError(f"--config {file}{explain(error, content, names)}") from None


def read_run_config(run: Path) -> TrainConfig | None:
    """Return the configuration of the run in a directory, with defaults for missing fields; None without a run.

    Raises:
        ValueError: see `read_config`.
    """
    return read_config(run / CONFIG) if (run / CONFIG).is_file() else None


def as_begun(config: TrainConfig) -> TrainConfig:
    """Return the configuration with which to resume the run in its directory, if there is one.

    Fields whose default has changed since the run was begun keep the value that they had then.
    """
    before = read_run_config(config.run_dir)
    kept = older_values(to_dict(before), to_dict(config)) if before else {}
    for name, value in kept.items():
        log.info("%s was begun with %s=%s, and goes on with it", config.run_dir, name, value)
        section, _, field_name = name.partition(".")
        config = replace(config, **{section: replace(getattr(config, section), **{field_name: value})})
    return config


def recorded(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain JSON values for files and MLflow: URLs without what may be secret in them."""
    return without_secrets(to_dict(config))


def dump(config: TrainConfig) -> str:
    """Return the resolved configuration as indented JSON, see `recorded`."""
    return json.dumps(recorded(config), indent=2)
