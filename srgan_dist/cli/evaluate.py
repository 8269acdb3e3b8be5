"""`srgan evaluate`: evaluate generators and interpolation on held-out images."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import Processes, join_processes
from srgan_dist.cli.parsing import HelpOptions, parse
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.imaging.resize import INTERPOLATIONS, Interpolation
from srgan_dist.utils.terminal import write_out
from srgan_dist.utils.usage import UsageError

if TYPE_CHECKING:
    from srgan_dist.evaluation.results import Evaluation

COMMON = ("data", "models", "scale", "at", "against", "perceptual", "json", "markdown")
"""The flags that people change most, in the order of the help text."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Evaluate models and interpolation on held-out images, by the standard evaluation protocol."""

    data: Path
    """A folder of HR images, a folder with HR_x4 and LR_x4 (or HR and LR) folders, packed shards, or a test set.
    Test sets are downloaded once by their name: set5, set14, bsd100, urban100."""

    scale: int | None = None
    """Upscaling factor. The default is the models' scale, or 4 without models."""

    models: tuple[Path, ...] = ()
    """Run directories, checkpoints, exported generators, any .pth or .safetensors file that spandrel supports, or
    networks by their names (srgan upscale --help-all lists them)."""

    at: str | None = None
    """Checkpoint of a run directory: last, best or a step. By default the final model, or else the last checkpoint."""

    against: tuple[Interpolation, ...] = INTERPOLATIONS
    """Interpolations to compare with."""

    crop_hr: bool = False
    """Crop HR at the right and bottom to scale times LR, if it is less than scale pixels larger."""

    perceptual: tuple[PerceptualMetric, ...] = ()
    """Perceptual metrics to compute as well. NIQE, gradient energy and grid ratio need nothing else, and are always
    computed with models; lpips, dists and topiq require the extra srgan-dist[perceptual]."""

    published: bool = False
    """Append the results that the SRGAN and ESRGAN papers report for Set5, Set14 and BSD100 at x4."""

    json: Path | None = None
    """JSON file to write the scores to."""

    csv: Path | None = None
    """CSV file to write the scores to, one line per image and method."""

    markdown: Path | None = None
    """Markdown file to write the table to."""

    mlflow: str | None = None
    """MLflow experiment to log the mean scores to, as a new run."""


def main(args: list[str]) -> int:
    """Run `srgan evaluate --data DIR ...`, and return the exit code."""
    options = parse(EvaluateOptions, args, "srgan evaluate", shown=HelpOptions(common=COMMON))
    if options.scale is not None and options.scale < 1:
        raise UsageError(f"--scale {options.scale} must be at least 1")
    processes = join_processes()
    table = run(options, processes)
    if processes.first:
        write_out(table + "\n")
    return 0


def run(options: EvaluateOptions, processes: Processes) -> str:
    """Evaluate, write the requested files, and return the results as a Markdown table.

    Raises:
        ValueError: See `evaluation.evaluate.evaluate`; or if a file cannot be written or MLflow cannot be reached.
    """
    from srgan_dist.evaluation.evaluate import evaluate

    if options.mlflow and processes.first:
        _check_mlflow()
    evaluation = evaluate(
        options.data, options.models, scale=options.scale, at=options.at, against=options.against,
        perceptual=options.perceptual, published=options.published, crop_hr=options.crop_hr,
        group=processes.group, progress=processes.progress,
        device=processes.device,
    )  # fmt: skip
    table = evaluation.table(options.published)
    if processes.first:
        _write(options, evaluation, table)
    return table


def _write(options: EvaluateOptions, evaluation: "Evaluation", table: str) -> None:
    from srgan_dist.utils.files import output_errors, write_text

    outputs = (
        (options.json, json.dumps(evaluation.to_json(), indent=2)),
        (options.csv, evaluation.to_csv()),
        (options.markdown, table + "\n"),
    )
    for file, text in outputs:
        if file is not None:
            with output_errors(file):
                write_text(text, file)
    if options.mlflow:
        _log_to_mlflow(options, evaluation)


def _check_mlflow() -> None:
    from srgan_dist.tracking.server import UnreachableError, check_server, shown, tracking_uri

    try:
        check_server(tracking_uri())
    except UnreachableError as error:
        raise ValueError(f"--mlflow: no MLflow server at {shown(tracking_uri())} ({error})") from None


def _log_to_mlflow(options: EvaluateOptions, evaluation: "Evaluation") -> None:
    from srgan_dist.tracking.config import TrackingConfig
    from srgan_dist.tracking.tracker import Tracker
    from srgan_dist.utils.files import write_json

    assert options.mlflow
    params = {"data": options.data, "scale": evaluation.scale, "models": [str(m) for m in options.models]}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, f"{options.data.name}-x{evaluation.scale}")  # the MLflow run gets the name of the folder
        folder.mkdir()
        write_json(evaluation.to_json(), folder / "evaluation.json", indent=2)
        tracker = Tracker(TrackingConfig(experiment=options.mlflow), folder, params | evaluation.protocols())
        for method, means in evaluation.means().items():
            name = "".join(c if c.isalnum() or c in "-. " else "_" for c in method)
            tracker.metrics(0, {f"{name}/{column}": value for column, value in means.items() if not math.isnan(value)})
        tracker.artifact(folder / "evaluation.json")
        tracker.table([row.flat() for row in evaluation.rows])
        if not tracker.close("FINISHED"):
            raise ValueError(f"--mlflow {options.mlflow}: not everything reached the server; run the command again")
