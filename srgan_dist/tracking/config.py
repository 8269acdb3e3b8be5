"""What a run's configuration says about MLflow."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """MLflow."""

    enabled: bool = True
    """Log to MLflow; metrics.jsonl in the run directory is written in any case."""

    experiment: str = "srgan_dist"
    """MLflow's experiment."""

    register: str | None = None
    """Also put the finished models into MLflow's registry under this name; the alias best-psnr marks the best one."""

    buffer: int = 512
    """MiB of images that wait on disk while the server is away; beyond it the oldest are left out."""
