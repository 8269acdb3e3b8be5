"""`srgan compare`: compare models on one HTML page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import Processes, join_processes
from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.imaging.resize import INTERPOLATIONS, Interpolation
from srgan_dist.utils.terminal import printable, write_out
from srgan_dist.utils.usage import UsageError

if TYPE_CHECKING:
    from srgan_dist.evaluation.results import Evaluation


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Compare models on one HTML page: scores, images, training curves and configurations."""

    runs: Positional[tuple[Path, ...]]
    """Run directories, checkpoints, exported generators, any .pth or .safetensors file that spandrel supports, or
    networks by their names (srgan upscale --help-all lists them)."""

    out: Path
    """HTML file to write."""

    data: Path | None = None
    """Images to evaluate on, as in srgan evaluate. The default is the first run's own held-out images."""

    at: str | None = None
    """Checkpoint of a run directory: last, best or a step. By default the final model, or else the last checkpoint."""

    against: tuple[Interpolation, ...] = INTERPOLATIONS
    """Interpolations to compare with."""

    crop_hr: bool = False
    """Crop HR at the right and bottom to scale times LR, if it is less than scale pixels larger."""

    perceptual: tuple[PerceptualMetric, ...] = ()
    """Perceptual metrics besides NIQE: lpips, dists, topiq. They require the extra srgan-dist[perceptual]."""

    images: int = 6
    """Number of images to show: those in which the models differ most. The table covers all images."""

    side: int = 768
    """Side in HR pixels. Of larger images, only the square of this side in which the models differ most is shown."""


def main(args: list[str]) -> int:
    """Run `srgan compare RUN RUN --out FILE`, and return the exit code."""
    options = parse(CompareOptions, args, "srgan compare")
    for flag, value in (("images", options.images), ("side", options.side)):
        if value < 1:
            raise UsageError(f"--{flag} {value} must be at least 1")
    processes = join_processes()
    evaluation = run(options, processes)
    if processes.first:
        write_out(f"{evaluation.table()}\n\nComparison page: {printable(options.out)}\n")
    return 0


def run(options: CompareOptions, processes: Processes) -> "Evaluation":
    """Write the page and return the scores, on every process.

    Raises:
        ValueError: If there are no models or no images, or the models have different scales.
    """
    from srgan_dist.evaluation.comparison import compare
    from srgan_dist.training.config import read_run_config
    from srgan_dist.utils.serialization import to_dict

    configs = {run: config for run in options.runs if (config := read_run_config(run))}
    held_out = [Path(config.data.shards[0]) for config in configs.values() if config.data.shards]
    if not options.data and not held_out:
        raise UsageError(
            "--data is needed: none of the models is a run directory whose configuration names held-out images"
        )
    return compare(
        options.runs, options.data or held_out[0], options.out, {run: to_dict(c) for run, c in configs.items()},
        at=options.at, against=options.against, perceptual=options.perceptual, crop_hr=options.crop_hr,
        images=options.images, side=options.side, group=processes.group, progress=processes.progress,
        device=processes.device,
    )  # fmt: skip
