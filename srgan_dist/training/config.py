"""What a training run is made of, on the command line and in `config.json`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from srgan_dist.data.config import DataConfig
from srgan_dist.data.degradations import DegradationConfig
from srgan_dist.distributed.precision import MixedPrecision
from srgan_dist.models import DiscriminatorConfig, GeneratorConfig, SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.runs.run_dir import CONFIG, RunDir
from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.training.compilation import Compile
from srgan_dist.training.losses import AdversarialConfig, ContentConfig, PixelKind, VanillaGAN, Weights
from srgan_dist.training.optimizers import AdamConfig, OptimizerConfig
from srgan_dist.training.schedules import MilestoneSchedule, Schedule
from srgan_dist.utils.renamed import with_current_names
from srgan_dist.utils.serialization import from_dict, to_dict


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the networks learn from."""

    pixel: PixelKind = "mse"
    """The pixel distance: the whole loss of the pretraining phase."""

    content: ContentConfig | None = ContentConfig()
    """The VGG distance of the adversarial phase; none means that the pixel term is the content."""

    adversarial: AdversarialConfig = VanillaGAN()
    """The GAN loss."""

    weights: Weights = Weights()
    """What each term counts in the adversarial phase."""


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """One phase of training."""

    steps: int
    """Generator updates; 0 leaves the phase out."""

    epochs: float | None = None
    """Passes over the training images instead; `steps` follows from them, from the images and the crops per step."""

    label: str
    """What the phase's result is called in tables, images and file names."""

    schedule: Schedule = MilestoneSchedule()
    """The learning rate of both networks."""


BestBy = Literal["last", "psnr_y", "ssim_y"]
"""How the best of a phase's checkpoints is found; of the numbers more is better."""


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """How the held-out images are looked at during training."""

    every: int = 5000
    """Steps from one validation to the next; also at the end of each phase."""

    images: int = 8
    """How many held-out images, from the first on; 0 turns validation off."""

    side: int = 512
    """HR pixels of the central square that is evaluated; the final evaluation takes whole images."""

    best_by: BestBy = "psnr_y"
    """What the best checkpoint of the pretraining phase is chosen by; last keeps none besides the latest."""

    patience: int = 0
    """End the pretraining phase early after this many validations without a better one; 0 never does."""

    adversarial_best_by: BestBy = "last"
    """The same for the adversarial phase, in which PSNR and SSIM fall by design (SRGAN Table 2)."""

    adversarial_patience: int = 0
    """End the adversarial phase early likewise; 0 never does."""

    def rule(self, phase: int) -> tuple[BestBy, int]:
        """Return what decides about a phase (0 or 1), and its patience."""
        if phase == 0:
            return self.best_by, self.patience
        return self.adversarial_best_by, self.adversarial_patience


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """What is kept on disk."""

    every: int = 5000
    """Steps from one checkpoint to the next; also at the end of each phase."""

    keep: int = 2
    """How many of the latest to keep; the best one is kept besides."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run."""

    scale: int = 4
    """How many times larger the image becomes."""

    run_dir: Path = Path("runs/train")
    """Where the run lives. The same command again resumes it."""

    seed: int = 0
    """Decides crops and initial weights."""

    mixed_precision: MixedPrecision = "auto"
    """auto: what the launcher was told, else bf16 or fp16 as the GPU has it, and no on a CPU."""

    compile: Compile = "no"
    """torch.compile for all networks: default, or reduce-overhead with CUDA graphs. A minute at the start, kept for the
    next run; then faster steps. Results equal those without to float rounding."""

    deterministic: bool = False
    """On CUDA the same kernels every time: a run repeats and resumes bit for bit on one kind of card with one version
    of torch. Slower; --compile is not used then. On a CPU it is so anyway."""

    profile: int = 0
    """Record so many steps of this start with torch's profiler into the run directory; 0 records none."""

    ema_decay: float = 0.999
    """Moving average of the generator, which is what is evaluated and exported; 0 turns it off."""

    accumulate: int = 1
    """Batches whose gradients are averaged into one step. Crops per step = processes x batch x accumulate."""

    clip_norm: float | None = None
    """Scale gradients down to this norm; both networks' norms are logged in any case."""

    sync_batch_norm: bool | None = None
    """Batch statistics over all processes instead of each one's own (CUDA only). None: on with several GPUs."""

    max_skips: int = 25
    """Stop after this many steps in a row without a finite gradient."""

    time_limit: float | None = None
    """Minutes after which to save and stop; the same command goes on."""

    gradient_shares_every: int = 500
    """Steps from one measurement of each term's share in the generator's gradient to the next."""

    log_every: int = 100
    """Steps from one line of metrics to the next."""

    threads: int | None = None
    """CPU threads per process; None shares the cores evenly. Without effect on GPUs."""

    expect_world_size: int | None = None
    """Refuse to train with another number of processes."""

    data: DataConfig = field(default_factory=DataConfig)
    """The crops."""
    degradation: DegradationConfig | None = None
    """Makes LR from HR on the device; none means the shards' own LR."""
    generator: GeneratorConfig = field(default_factory=SRResNetConfig)
    """The network that upscales."""
    weights: Path | None = None
    """Start the generator from this file or run: an exported file, a checkpoint, a published .pth."""
    discriminator: DiscriminatorConfig = field(default_factory=VGGDiscriminatorConfig)
    """The network that judges."""
    optimizer: OptimizerConfig = AdamConfig()
    """Updates the weights of both networks."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The loss terms."""
    pretrain: PhaseConfig = PhaseConfig(steps=1_000_000, label="SRResNet")
    """Pixel loss alone (SRGAN Sec. 3.2: the MSE-based SRResNet)."""
    adversarial: PhaseConfig = PhaseConfig(steps=200_000, label="SRGAN")
    """Both networks, starting from the pretraining's result."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Looks at held-out images."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Saves."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """MLflow."""

    @property
    def compilation(self) -> Compile:
        """How networks are compiled: not at all where runs must repeat bit for bit."""
        return "no" if self.deterministic else self.compile

    @property
    def steps(self) -> int:
        """Generator updates of both phases."""
        return self.pretrain.steps + self.adversarial.steps


def check(config: TrainConfig) -> None:
    """Raises ValueError, with field, value and cure, for values that no run can have."""
    positive = {
        "scale": config.scale, "log_every": config.log_every, "data.batch": config.data.batch,
        "data.hr_crop": config.data.hr_crop, "validation.every": config.validation.every,
        "checkpoint.every": config.checkpoint.every, "checkpoint.keep": config.checkpoint.keep,
        "accumulate": config.accumulate, "max_skips": config.max_skips,
        "gradient_shares_every": config.gradient_shares_every,
    }  # fmt: skip
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    if config.data.hr_crop % config.scale:
        below = config.data.hr_crop - config.data.hr_crop % config.scale
        near = f"{below} or {below + config.scale}"
        raise ValueError(f"data.hr_crop={config.data.hr_crop} must be a multiple of scale={config.scale}: {near}")
    if min(config.pretrain.steps, config.adversarial.steps) < 0 or config.steps == 0:
        raise ValueError("pretrain.steps and adversarial.steps must not be negative, nor both 0")
    _check_phases(config)
    if not 0 <= config.ema_decay < 1:
        raise ValueError(f"ema_decay={config.ema_decay} must be at least 0 and below 1")


def _check_phases(config: TrainConfig) -> None:
    """Raise ValueError for phases whose results or rules would be in each other's way."""
    phases = (config.pretrain, config.adversarial)
    names = [RunDir.model_name(p.label) for p in phases]
    if all(p.steps for p in phases) and names[0] == names[1]:
        raise ValueError(
            f"pretrain.label={phases[0].label!r} and adversarial.label={phases[1].label!r} would both be saved as "
            f"{names[0]}; give one of them another name"
        )
    if config.validation.images < 0:
        raise ValueError(f"validation.images={config.validation.images} must be at least 0; 0 turns validation off")
    for name, number in (("", 0), ("adversarial_", 1)):
        best_by, patience = config.validation.rule(number)
        if patience and best_by == "last":
            raise ValueError(
                f"validation.{name}patience={patience} needs a number to wait for: set validation.{name}best_by to "
                "psnr_y or ssim_y"
            )


def read_config(file: Path) -> TrainConfig:
    """A run's `config.json`, or the same as YAML.

    Raises:
        ValueError: not readable, a key that does not exist (with the nearest that does), or a wrong value.
    """
    try:
        return from_dict(TrainConfig, _current(yaml.safe_load(file.read_text())))  # JSON is YAML
    except OSError as error:
        raise ValueError(f"--config {file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"--config {file}: {error}") from error


def _current(content: Any) -> Any:
    return with_current_names(content) if isinstance(content, dict) else content  # pyright: ignore[reportUnknownArgumentType]


def read_run_config(run: Path) -> TrainConfig | None:
    """The configuration of the run that a directory holds, missing fields with their defaults; None without a run.

    Raises:
        ValueError: see `read_config`.
    """
    return read_config(run / CONFIG) if (run / CONFIG).is_file() else None


def dump(config: TrainConfig) -> str:
    """The resolved configuration as indented JSON."""
    return json.dumps(to_dict(config), indent=2)
