"""The MLflow section of a run's configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Tracking with MLflow."""

    enabled: bool = True
    """Log to MLflow; metrics.jsonl in the run directory is always written."""

    experiment: str = "srgan_dist"
    """Name of the MLflow experiment."""

    preset: str = ""
    """Name of the preset that the configuration started from: a tag of the run."""

    register: str | None = None
    """Register the finished models in MLflow under this name; the alias best-psnr marks the one with the best PSNR."""

    buffer: int = 512
    """MiB of images kept on disk while the server is unreachable; beyond that, the oldest are dropped."""
