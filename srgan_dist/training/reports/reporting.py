"""Reports a training run to the log, `metrics.jsonl` and MLflow: its environment, metrics and results."""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import torch
from accelerate import Accelerator

from srgan_dist.data.loading.feed import Feed
from srgan_dist.distributed.accelerator import launch_command
from srgan_dist.distributed.coordination import StopRequested
from srgan_dist.evaluation.comparison import FIGURE, PAGE, TRADEOFF
from srgan_dist.evaluation.curves_figure import FILE as CURVES
from srgan_dist.evaluation.curves_figure import write_curves
from srgan_dist.evaluation.metrics import Scores
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import interpolate
from srgan_dist.runs import environment
from srgan_dist.runs.metric_names import public_name
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.tracking.server import UnreachableError, check_server, shown, uri_of
from srgan_dist.tracking.tracker import Dataset, Tracker, detach
from srgan_dist.training.config import PhaseConfig, TrainConfig, recorded
from srgan_dist.training.gan_health import HealthWarning, health_warnings
from srgan_dist.training.reports.startup_timer import Startup
from srgan_dist.training.run_state import RunState
from srgan_dist.training.validation import Validation
from srgan_dist.utils.addresses import redacted
from srgan_dist.utils.serialization import flatten

log = logging.getLogger("srgan_dist")

_SETTLED = 1000
"""Steps of pretraining after which a new network's colors are right."""


class Reporter:
    """Logs a run's progress. Metrics go to `metrics.jsonl`, from which MLflow's thread sends them; images go to MLflow.

    Args:
        crops_per_step: over all processes.
    """

    def __init__(
        self, config: TrainConfig, accelerator: Accelerator, run_dir: RunDir, feed: Feed, crops_per_step: int
    ) -> None:
        self._config, self._accelerator, self._run_dir, self._feed = config, accelerator, run_dir, feed
        self._active_warnings, self._active_validation_warnings = set[str](), set[str]()
        """Names of the warnings in the last window, and in the last validation."""
        self.tracker = _open_tracker(config, accelerator, run_dir, feed, crops_per_step)

    def begin(self, state: RunState, validation: Validation | None) -> None:
        """Log what is about to be trained, and start tracking.

        Lines of `metrics.jsonl` after the resumed step are deleted first: once tracking has started, any line may have
        been sent to MLflow.
        """
        self._run_dir.truncate_metrics(state.step)
        self._run_dir.status("running", state.step)
        _log_held_out_crops(self.tracker, validation)
        if self._accelerator.is_main_process and self._config.tracking.enabled:
            log.info("tracking to MLflow at %s", shown(uri_of(self._run_dir.path)))
        self.tracker.start()
        log.info("%s: %s", self._run_dir.path, self._feed.summary)
        for change in self._run_dir.changes:
            log.info("setting changed from step %d on: %s", state.step, change)
        self._log_epochs(state)
        self._warn_of_pixel_phase(state)
        a, crops, accumulate = self._accelerator, state.crops_per_step, self._config.accumulate
        batch = crops // (a.num_processes * accumulate)
        log.info(
            "%s, precision %s; %d crops per step = %d process(es) x batch %d x accumulate %d",
            a.device.type, a.mixed_precision, crops, a.num_processes, batch, accumulate,
        )  # fmt: skip

    def first_step(self, startup: Startup) -> None:
        """Log where the time from the command to the first step went."""
        if self._accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        startup.mark("first step")
        log.info("%s", startup)

    def window(self, state: RunState, means: dict[str, float]) -> dict[str, float]:
        """Record the means of a logging window, and log new health warnings.

        Returns:
            The metrics by their public names: the means, the loss and the learning rates; with `data.on_bad=skip` also
            the number of corrupt crops that were replaced so far.
        """
        skip_bad = self._config.data.on_bad == "skip"
        replaced = {"replaced": self._feed.replaced(0, state.step * state.crops_per_step)} if skip_bad else {}
        metrics = self._training_loss(state.phase, means) | means | replaced | self._learning_rates(state)
        warnings = health_warnings(metrics, starting=state.phase == 0 and state.step < _SETTLED)
        self._warn_of_new(state.step, warnings, self._active_warnings)
        named = {public_name(name): value for name, value in metrics.items()}
        health = {f"health/{warning.name.replace(' ', '_')}": 1.0 for warning in warnings}
        self._run_dir.append_metrics(state.step, named | {"phase": state.phase + 1.0} | health)
        return named

    def _training_loss(self, phase: int, means: dict[str, float]) -> dict[str, float]:
        """Return the loss that the generator was trained on; an empty dictionary if it was not trained."""
        if "pixel" not in means:
            return {}
        weights = asdict(self._config.loss.effective_weights) if phase else {"pixel": 1.0}
        return {"loss": sum(weight * means[term] for term, weight in weights.items() if term in means)}

    def _learning_rates(self, state: RunState) -> dict[str, float]:
        """Return the learning rates of the last step."""
        phase = (self._config.pretrain, self._config.adversarial)[state.phase]
        rate = phase.schedule.at(max(0, state.step - 1 - state.phase_start), phase.steps)
        both = {"discriminator_rate": rate * self._config.discriminator_rate} if state.phase else {}
        return {"generator_rate": rate} | both

    def epoch(self, state: RunState) -> float | None:
        """Return how many epochs of the training images are done; None for a stream."""
        images = self._feed.images
        return state.step * state.crops_per_step / images if images else None

    def _log_epochs(self, state: RunState) -> None:
        if images := self._feed.images:
            steps = images / state.crops_per_step
            log.info("an epoch of %d images takes %.4g steps; step %d is at epoch %.4g", images, steps, state.step,
                     state.step / steps)  # fmt: skip

    def _warn_of_new(self, step: int, warnings: list[HealthWarning], active: set[str]) -> None:
        """Log those warnings that were not active before, on rank 0 only: all processes see the same metrics."""
        for warning in warnings:
            if warning.name not in active and self._accelerator.is_main_process:
                log.warning("step %d  %s", step, warning.message)
        active.clear()
        active.update(warning.name for warning in warnings)

    def _warn_of_pixel_phase(self, state: RunState) -> None:
        """Log what a pixel phase does to given weights: the loss of a trained GAN's texture shows only hours later."""
        config = self._config
        if config.weights and config.pretrain.steps and not state.step and self._accelerator.is_main_process:
            log.warning(
                "--weights %s: the pixel phase comes first; if they are a GAN's, its %d steps on %s will train the "
                "texture away. To keep it, pass --pretrain.steps 0, or use a preset finetune-...",
                config.weights, config.pretrain.steps, config.loss.pixel.upper(),
            )  # fmt: skip

    def validation(self, step: int, validation: Validation, scores: Scores, images: list[Pixels]) -> None:
        """Record the scores of a validation, next to bicubic's and HR's, its images, and new warnings."""
        bicubic, original = validation.bicubic, validation.original
        text = f"PSNR-Y {scores['psnr_y']:.2f} dB (bicubic {bicubic['psnr_y']:.2f}), SSIM-Y {scores['ssim_y']:.4f}"
        if "niqe" in scores and "niqe" in original:
            text += f", NIQE {scores['niqe']:.2f} (bicubic {bicubic['niqe']:.2f}, HR {original['niqe']:.2f})"
        log.info("step %d  validation on center crops of %d: %s", step, self._config.validation.side, text)
        numbers = scores | {"psnr_y_bicubic": bicubic["psnr_y"]}
        numbers |= {f"niqe_{name}": found["niqe"] for name, found in (("bicubic", bicubic), ("hr", original))
                    if "niqe" in found}  # fmt: skip
        warnings = [HealthWarning(name, f"{name}: {message}") for name, message in validation.warnings(scores)]
        self._warn_of_new(step, warnings, self._active_validation_warnings)
        health = {f"health/valid_{warning.name.replace(' ', '_')}": 1.0 for warning in warnings}
        self._run_dir.append_metrics(step, {f"validation/{name}": value for name, value in numbers.items()} | health)
        self._draw_curves()
        for crop, image in zip(validation.crops, images, strict=True):
            self.tracker.image(crop.name, image, step)

    def results(self, state: RunState, evaluation: Evaluation | None) -> None:
        """Draw the curves to their end; log the final evaluation and each phase's generator to MLflow."""
        self._draw_curves()
        phases = (self._config.pretrain, self._config.adversarial)
        _log_results(self.tracker, self._run_dir, phases, self._config.scale, state.step, evaluation)

    def _draw_curves(self) -> None:
        if self._accelerator.is_main_process:
            try:
                write_curves(self._run_dir.path)
            except OSError as error:  # a full disk, which must not end a training whose metrics are still in memory
                log.warning("%s cannot be written (%s)", self._run_dir.path / CURVES, error.strerror or error)

    def close(self, step: int, error: BaseException | None) -> None:
        """Record how the run ended in `status.json` and MLflow."""
        if error is None:
            self._run_dir.status("done", step)
            self.tracker.close("FINISHED")
        elif isinstance(error, StopRequested):
            self._run_dir.status("preempted", step, str(error))
            self.tracker.close("KILLED")
        else:
            try:
                self._run_dir.fail(step, f"process {self._accelerator.process_index}: {redacted(repr(error))}")
            finally:
                self.tracker.close("FAILED")


def check_tracking(config: TrainConfig, accelerator: Accelerator) -> None:
    """Check MLflow's address and credentials before anything is built.

    Raises:
        ValueError: see `tracking.server.check_server`. An unreachable server is no error, since it may come back.
    """
    if config.tracking.enabled and accelerator.is_main_process:
        with suppress(UnreachableError):
            check_server(uri_of(config.run_dir))


def _open_tracker(config: TrainConfig, accelerator: Accelerator, run: RunDir, feed: Feed, crops: int) -> Tracker:
    """Return the tracker of the run on rank 0, and a disabled one on the other processes.

    Args:
        crops: crops per step over all processes.
    """
    main = accelerator.is_main_process
    if main and run.starts_over:
        detach(run.path)
    tracking = replace(config.tracking, enabled=config.tracking.enabled and main)
    if not main:
        return Tracker(tracking, run.path, {})
    session = environment.session_facts(
        accelerator.device, accelerator.num_processes, str(accelerator.mixed_precision), launch_command()
    )
    session["changed"] = [str(change) for change in run.changes]
    session["data"] = {place.location: place.hash for place in feed.places}
    environment.append_session(run.path, session)
    params = flatten(recorded(config)) | {"data.manifests": feed.hashes, "crops_per_step": crops}
    tags = environment.tags(session) | ({"preset": tracking.preset} if tracking.preset else {})
    tracker = Tracker(tracking, run.path, params, tags, _datasets(feed))
    for name in ("config.json", environment.FILE, *([session["patch"]] if "patch" in session else [])):
        if (run.path / name).exists():
            tracker.artifact(run.path / name)
    return tracker


def _datasets(feed: Feed) -> list[Dataset]:
    """Return the shards that the run is trained on, identified by the hashes of their manifests."""
    found: list[Dataset] = []
    for place in feed.places:
        m = place.manifest
        counts = {"train": m.samples("train"), "valid": m.samples("valid")}
        profile = counts | {"scale": m.scale, "degradation": m.degradation, "encoding": m.encoding, "source": m.source}
        found.append(Dataset(Path(place.location).name, place.hash, place.location, profile))
    return found


def _log_held_out_crops(tracker: Tracker, validation: Validation | None) -> None:
    """Log HR and bicubic interpolation of the held-out crops, for comparison with the images of each validation."""
    for crop in validation.crops if validation else []:
        tracker.image(f"{crop.name} HR", crop.hr, 0)
        scale = crop.hr.shape[0] // crop.lr.shape[0]
        tracker.image(f"{crop.name} bicubic", interpolate(crop.lr, scale, "bicubic"), 0)


def final_tags(means: Mapping[str, Scores], labels: Sequence[str]) -> dict[str, str]:
    """Return the main mean scores of the final evaluation as tags, by which runs can be sorted.

    As metrics, MLflow would draw a chart with one dot for each of them. All scores are in the run's table.

    Args:
        means: By method.
        labels: Of the phases; `final/psnr_y` is that of the last one, `final/psnr_y_pretrained` that of the first.
    """
    methods = {"": labels[-1], "_bicubic": "bicubic"} | ({"_pretrained": labels[0]} if len(labels) > 1 else {})
    return {
        f"final/{score}{ending}": f"{means[method][score]:.{decimals}f}"
        for score, decimals in (("psnr_y", 3), ("ssim_y", 4), ("niqe", 3))
        for ending, method in methods.items()
        if math.isfinite(means.get(method, {}).get(score, math.nan))
    }


def _log_results(
    tracker: Tracker, run: RunDir, phases: tuple[PhaseConfig, ...], scale: int, step: int, evaluation: Evaluation | None
) -> None:
    """Log the final evaluation, and each phase's generator with its scores as a model that can be served."""
    means = evaluation.means() if evaluation else {}
    if evaluation:
        for file in ("evaluation.json", FIGURE, TRADEOFF, PAGE, CURVES):
            if (run.path / file).is_file():
                tracker.artifact(run.path / file)
        tracker.table([row.flat() for row in evaluation.rows])
        tracker.tags(final_tags(means, [p.label for p in phases if p.steps]))
    for phase in phases:
        if phase.steps:
            tracker.model(run.model(phase.label), phase.label, scale, step, means.get(phase.label))
