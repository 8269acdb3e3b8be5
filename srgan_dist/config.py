"""What a training run is made of, on the command line and in `config.json`. The only home of cattrs."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import cattrs
import cattrs.strategies
import yaml

from srgan_dist.data.reader import DataConfig
from srgan_dist.flags import Positional as Positional  # beside the config, for its users
from srgan_dist.flags import nearest
from srgan_dist.flags import parse as parse
from srgan_dist.flags import parse_pair as parse_pair
from srgan_dist.losses import PixelKind, VanillaGAN, Weights
from srgan_dist.models import DiscriminatorConfig, GeneratorConfig, SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.models.vgg import VGGLayer
from srgan_dist.schedules import MilestoneSchedule, Schedule

T = TypeVar("T")
MixedPrecision = Literal["auto", "no", "fp16", "bf16"]


@dataclass(frozen=True, kw_only=True)
class ContentConfig:
    """The VGG19 distance."""

    layer: VGGLayer = "relu5_4"
    """relu5_4 is the paper's VGG54, relu2_2 its VGG22."""

    weights: Path | None = None
    """A file with torchvision's vgg19 weights, for machines without network."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the networks learn from."""

    pixel: PixelKind = "mse"
    """The pixel distance: the whole loss of the pretraining phase."""

    content: ContentConfig | None = ContentConfig()
    """The VGG distance of the adversarial phase; none means that the pixel term is the content."""

    adversarial: VanillaGAN = VanillaGAN()
    """The GAN loss."""

    weights: Weights = Weights()
    """What each term counts in the adversarial phase."""


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """One phase of training."""

    steps: int
    """Generator updates; 0 leaves the phase out."""

    label: str
    """What the phase's result is called in tables, pictures and file names."""

    schedule: Schedule = MilestoneSchedule()
    """The learning rate of both networks."""


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """How the held-out pictures are looked at during training."""

    every: int = 5000
    """Steps from one validation to the next; also at the end of each phase."""

    images: int = 8
    """How many held-out pictures, from the first on."""

    side: int = 512
    """HR pixels of the central square that is judged; the final evaluation takes whole pictures."""


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """What is kept on disk."""

    every: int = 5000
    """Steps from one checkpoint to the next; also at the end of each phase."""

    keep: int = 2
    """How many of the latest to keep; the best one is kept besides."""


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """MLflow."""

    enabled: bool = True
    """Log to MLflow; metrics.jsonl in the run directory is written in any case."""

    experiment: str = "srgan_dist"
    """MLflow's experiment."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run."""

    scale: int = 4
    """How many times larger the picture becomes."""

    run_dir: Path = Path("runs/train")
    """Where the run lives. The same command again resumes it."""

    seed: int = 0
    """Decides crops and initial weights."""

    mixed_precision: MixedPrecision = "auto"
    """auto: what the launcher was told, else bf16 or fp16 as the GPU has it, and no on a CPU."""

    ema_decay: float = 0.999
    """Moving average of the generator, which is what is evaluated and exported; 0 turns it off."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's."""

    log_every: int = 100
    """Steps from one line of metrics to the next."""

    expect_world_size: int | None = None
    """Refuse to train with another number of processes."""

    data: DataConfig = field(default_factory=DataConfig)
    """The crops."""
    generator: GeneratorConfig = field(default_factory=SRResNetConfig)
    """The network that enlarges."""
    discriminator: DiscriminatorConfig = field(default_factory=VGGDiscriminatorConfig)
    """The network that judges."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The loss terms."""
    pretrain: PhaseConfig = PhaseConfig(steps=1_000_000, label="SRResNet")
    """Pixel loss alone (SRGAN Sec. 3.2: the MSE-based SRResNet)."""
    adversarial: PhaseConfig = PhaseConfig(steps=200_000, label="SRGAN")
    """Both networks, starting from the pretraining's result."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Looks at held-out pictures."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Saves."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """MLflow."""

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
    if not 0 <= config.ema_decay < 1:
        raise ValueError(f"ema_decay={config.ema_decay} must be at least 0 and below 1")


def to_dict(config: object) -> dict[str, Any]:
    """A config as plain JSON values, each choice between classes tagged with `type`."""
    return _converter().unstructure(config)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def read_config(file: Path) -> TrainConfig:
    """A run's `config.json`, or the same as YAML.

    Raises:
        ValueError: not readable, a key that does not exist (with the nearest that does), or a wrong value.
    """
    try:
        return from_dict(TrainConfig, yaml.safe_load(file.read_text()))  # JSON is YAML
    except OSError as error:
        raise ValueError(f"--config {file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"--config {file}: {error}") from error


def from_dict(kind: type[T], content: Any) -> T:
    """The inverse of `to_dict`.

    Raises:
        ValueError: see `read_config`.
    """
    try:
        return _converter().structure(content, kind)
    except* cattrs.ForbiddenExtraKeysError as group:
        error = _first(group)
        assert isinstance(error, cattrs.ForbiddenExtraKeysError)
        key = min(error.extra_fields)
        raise ValueError(f"unknown key {key!r}{nearest(key, [f.name for f in fields(error.cl)])}") from None
    except* Exception as group:
        raise ValueError(f"not a {kind.__name__}: {cattrs.transform_error(group)[0]}") from None


def _first(group: BaseException) -> BaseException:
    return _first(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    converter.register_structure_hook(float, lambda value, _: float(value))
    cattrs.strategies.configure_tagged_union(
        Schedule, converter, tag_name="type", tag_generator=lambda c: c.__name__.removesuffix("Schedule").lower()
    )
    return converter
