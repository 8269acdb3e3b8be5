"""`srgan compare`: runs and models side by side on one page."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import Processes, join_processes
from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.imaging.resize import INTERPOLATIONS, Interpolation

if TYPE_CHECKING:
    from srgan_dist.evaluation.results import Evaluation


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What stands side by side."""

    runs: Positional[tuple[Path, ...]]
    """Run directories, checkpoints, exported generators, or any .pth or .safetensors that spandrel knows."""

    out: Path
    """The page, one HTML file."""

    data: Path | None = None
    """What they are evaluated on, as in srgan evaluate; the first run's own held-out images when not given."""

    at: str | None = None
    """Which checkpoint of a run directory: last, best or a step. Without it a finished run's final model, and of
    one that is not finished the last checkpoint."""

    against: tuple[Interpolation, ...] = INTERPOLATIONS
    """Interpolations to stand beside them."""

    crop_hr: bool = False
    """Cut off what HR has beyond scale times LR on the right and at the bottom, where that is less than the scale."""

    perceptual: tuple[PerceptualMetric, ...] = ()
    """Also how real it looks: lpips, dists, niqe; needs the extra srgan-dist[perceptual]."""

    images: int = 6
    """Images to show, those in which the models differ most; the table is about all of them."""

    side: int = 768
    """HR pixels: of larger images, the square of this side in which the models differ most is shown."""


def main(args: list[str]) -> int:
    """`srgan compare RUN RUN --out FILE`; returns the exit code."""
    options = parse(CompareOptions, args, "srgan compare")
    processes = join_processes()
    evaluation = run(options, processes)
    if processes.first:
        sys.stdout.write(f"{evaluation.table()}\n\nThe page: {options.out}\n")
    return 0


def run(options: CompareOptions, processes: Processes) -> "Evaluation":
    """Writes the page and returns its numbers.

    Raises:
        ValueError: no runs, models of different scales, or nothing to evaluate them on.
    """
    from srgan_dist.evaluation.comparison import compare
    from srgan_dist.training.config import read_run_config
    from srgan_dist.utils.serialization import to_dict

    if not options.runs:
        raise ValueError("name what to compare: srgan compare RUN [RUN ...] --out report.html")
    configs = {run: config for run in options.runs if (config := read_run_config(run))}
    held_out = [Path(config.data.shards[0]) for config in configs.values() if config.data.shards]
    if not options.data and not held_out:
        raise ValueError("--data is needed: none of these is a run directory that names its own held-out images")
    return compare(
        options.runs, options.data or held_out[0], options.out, {run: to_dict(c) for run, c in configs.items()},
        at=options.at, against=options.against, perceptual=options.perceptual, crop_hr=options.crop_hr,
        images=options.images, side=options.side, group=processes.group, progress=processes.progress,
        device=processes.device,
    )  # fmt: skip
