"""What a training run tells MLflow beyond its numbers: where it comes from, what it is judged by, what came out."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from srgan_dist.data.loading.feed import Feed
from srgan_dist.distributed.accelerator import launch_command
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.imaging.resize import enlarge
from srgan_dist.runs import environment
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.tracking.server import UnreachableError, check_server, uri_of
from srgan_dist.tracking.tracker import Dataset, Tracker
from srgan_dist.training.config import PhaseConfig, TrainConfig
from srgan_dist.training.validation import Validation
from srgan_dist.utils.serialization import flatten, to_dict


def check_tracking(config: TrainConfig, accelerator: Accelerator) -> None:
    """Refuses, before anything is built, an MLflow address or credentials that can never work.

    Raises:
        ValueError: see `tracking.check_server`; a server that is away is no error, for it may come back.
    """
    if config.tracking.enabled and accelerator.is_main_process:
        with suppress(UnreachableError):
            check_server(uri_of(config.run_dir))


def open_tracker(config: TrainConfig, accelerator: Accelerator, run: RunDir, feed: Feed, crops: int) -> Tracker:
    """The first process's tracker, with the run's description; the others' does nothing.

    Args:
        crops: per step, of all processes together.
    """
    first = accelerator.is_main_process
    tracking = replace(config.tracking, enabled=config.tracking.enabled and first)
    if not first:
        return Tracker(tracking, run.path, {})
    session = environment.facts(
        accelerator.device, accelerator.num_processes, str(accelerator.mixed_precision), launch_command()
    )
    session["data"] = {place.location: place.hash for place in feed.places}
    environment.remember(run.path, session)
    params = flatten(to_dict(config)) | {"data.manifests": feed.hashes, "crops_per_step": crops}
    tracker = Tracker(tracking, run.path, params, environment.tags(session), datasets(feed))
    for name in ("config.json", environment.FILE, *([session["patch"]] if "patch" in session else [])):
        if (run.path / name).exists():
            tracker.artifact(run.path / name)
    return tracker


def datasets(feed: Feed) -> list[Dataset]:
    """The shards that the run is trained on, by the hash of their manifests."""
    found: list[Dataset] = []
    for place in feed.places:
        m = place.manifest
        counts = {"train": m.samples("train"), "valid": m.samples("valid")}
        profile = counts | {"scale": m.scale, "degradation": m.degradation, "encoding": m.encoding, "source": m.source}
        found.append(Dataset(Path(place.location).name, place.hash, place.location, profile))
    return found


def begin(tracker: Tracker, validation: Validation | None) -> None:
    """Logs what the held-out crops are compared with, once, and lets the sending begin."""
    for crop in validation.crops if validation else []:
        tracker.image(f"{crop.name} HR", crop.hr, 0)
        scale = crop.hr.shape[0] // crop.lr.shape[0]
        tracker.image(f"{crop.name} bicubic", enlarge(crop.lr, scale, "bicubic"), 0)
    tracker.start()


def log_results(
    tracker: Tracker, run: RunDir, phases: tuple[PhaseConfig, ...], scale: int, step: int, evaluation: Evaluation | None
) -> None:
    """Logs the final evaluation and, with its scores, every phase's generator as a model that can be served."""
    means = evaluation.means() if evaluation else {}
    if evaluation:
        for file in ("evaluation.json", "comparison.png", "comparison.html"):
            tracker.artifact(run.path / file)
        tracker.table([row.flat() for row in evaluation.rows])
        tracker.metrics(step, {f"final/{method}": scores["psnr_y"] for method, scores in means.items()})
    for phase in phases:
        if phase.steps:
            tracker.model(run.model(phase.label), phase.label, scale, step, means.get(phase.label))
