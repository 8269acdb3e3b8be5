"""A training run from start to finish: build, resume, train both phases, evaluate."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from accelerate import Accelerator

from srgan_dist.data.batch import Pair
from srgan_dist.data.loading.feed import Feed, open_data
from srgan_dist.data.loading.prefetch import Batches, StoppedWaitingError
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.accelerator import run_on_main, start
from srgan_dist.distributed.coordination import StopCoordinator, StopRequested
from srgan_dist.evaluation.results import Evaluation, read_evaluation
from srgan_dist.models.discriminator_files import save_discriminator
from srgan_dist.runs import checkpoint
from srgan_dist.runs.lock import RunLock
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.compilation import choose_kernels, prepare_compilation
from srgan_dist.training.config import PhaseConfig, TrainConfig, as_begun
from srgan_dist.training.config_checks import check
from srgan_dist.training.final_evaluation import evaluate_run, export_phase, open_models_early
from srgan_dist.training.flops import peak_tflops
from srgan_dist.training.out_of_memory import explain_out_of_memory
from srgan_dist.training.reports.meter import Meter
from srgan_dist.training.reports.reporting import Reporter, check_tracking
from srgan_dist.training.reports.run_progress import RunProgress
from srgan_dist.training.reports.startup_timer import Startup
from srgan_dist.training.run_state import (
    RunState,
    is_finished,
    load_resume_checkpoint,
    open_run_dir,
    progress_of,
    with_epochs_as_steps,
)
from srgan_dist.training.skipped_steps import SkippedSteps
from srgan_dist.training.trainable import Networks, load_vgg_early
from srgan_dist.training.validation import Validation
from srgan_dist.utils.cache_folder import cache_folder
from srgan_dist.utils.profiling import Profiler
from srgan_dist.utils.progress import start_logging
from srgan_dist.utils.unions import tag

log = logging.getLogger("srgan_dist")


def train(config: TrainConfig, startup: Startup | None = None, *, allow_pipe: bool = False) -> Evaluation | None:
    """Start or resume a training run, and return the evaluation of its generators on the held-out images.

    Args:
        startup: the startup timer of the command; None starts one now.
        allow_pipe: whether `data.stream` may contain shell commands.

    Returns:
        The same on every process; None without held-out images.

    Raises:
        ValueError: if configuration, data or run directory cannot be trained with; the message says what to do.
        StopRequested: if the run was stopped on request, after writing a checkpoint; the same call resumes it.
    """
    accelerator = start(config.mixed_precision, config.expect_world_size, config.threads)
    start_logging(accelerator.is_main_process)
    config = as_begun(config)
    if run_on_main(accelerator, lambda: is_finished(config)):
        last = "adversarial" if config.adversarial.steps else "pretrain"
        log.info("%s is finished; to continue training, raise the number of steps: --%s.steps N", config.run_dir, last)
        return read_evaluation(config.run_dir, config.scale)
    with explain_out_of_memory(config), prepare(config, startup, allow_pipe=allow_pipe) as trainer:
        trainer.run()
        return trainer.evaluate()


def prepare(config: TrainConfig, startup: Startup | None = None, *, allow_pipe: bool = False) -> "Trainer":
    """Check the configuration and build everything that a run needs, without training.

    Returns:
        A trainer that holds the lock of the run directory; use it as a context manager.

    Raises:
        ValueError: see `train`.
    """
    check(config)
    startup = startup or Startup()
    accelerator = start(config.mixed_precision, config.expect_world_size, config.threads)
    start_logging(accelerator.is_main_process)
    config = as_begun(config)
    choose_kernels(config.deterministic, config.compile)
    check_tracking(config, accelerator)
    startup.mark("process group")
    margin = config.degradation.margin_at(config.scale) if config.degradation else 0
    rank = accelerator.process_index
    feed, held_out = open_data(config.data, config.scale, config.seed, rank, margin, allow_pipe=allow_pipe)
    startup.mark("data")
    load_vgg_early(config, accelerator)
    open_models_early(config, accelerator)
    prepare_compilation(config.compilation, cache_folder(config.data.cache))
    lock = RunLock(config.run_dir)
    # All processes poll together: one that went ahead would wait in a collective, and time out there.
    while not run_on_main(accelerator, lock.try_acquire):
        time.sleep(1)
    try:
        trainer = Trainer(config, accelerator, feed, held_out, startup, lock)
    except BaseException:
        lock.release()
        raise
    startup.mark("networks")
    return trainer


class Trainer:
    """The training loop and its collaborators: networks, data, validation, checkpoints, reports.

    As a context manager it records how the run ended and releases the run directory.

    Args:
        lock: the acquired lock of the run directory.
    """

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        feed: Feed,
        held_out: ShardSet | None,
        startup: Startup,
        lock: RunLock,
    ) -> None:
        self.lock = lock
        self._checkpoint = load_resume_checkpoint(config, accelerator)
        """The checkpoint to resume from; None for a new run, and once it was restored."""
        # A step keeps the crops that the run was started with, however many processes resume it.
        configured = config.data.batch * config.accumulate * accelerator.num_processes
        crops_per_step = self._checkpoint["crops_per_step"] if self._checkpoint else configured
        config = with_epochs_as_steps(config, feed.images, crops_per_step)
        self.config, self.accelerator, self.feed, self.held_out = config, accelerator, feed, held_out
        self.startup: Startup | None = startup
        """None once the first step is done."""
        self.phases = (config.pretrain, config.adversarial)
        self.is_main_process = accelerator.is_main_process
        self.run_dir = self._open_run_dir()
        self.coordinator = StopCoordinator(accelerator, config.run_dir, config.time_limit)
        self.networks = Networks(config, accelerator)
        validated = held_out if config.validation.images else None
        self.validation = Validation(config.validation, validated, accelerator) if validated else None
        self.meter = Meter(accelerator)
        profiled_steps = config.profile if self.is_main_process else 0
        self.profiler = Profiler(profiled_steps, config.run_dir / "profile", accelerator.device)
        self.skipped_steps = SkippedSteps(config, accelerator, feed)
        self.degradation = tag(type(config.degradation)) if config.degradation else feed.degradation
        self.state = RunState(crops_per_step)
        self.reporter = Reporter(config, accelerator, self.run_dir, feed, self.state.crops_per_step)
        self.progress = RunProgress(config, self.state, self.run_dir, held_out, visible=self.is_main_process)

    def _open_run_dir(self) -> RunDir:
        progress = progress_of(self._checkpoint, self.accelerator.num_processes) if self._checkpoint else None
        opened: list[RunDir] = []
        # Rank 0 checks and writes config.json before the others read it; what it refuses, all of them raise.
        run_on_main(self.accelerator, lambda: opened.append(open_run_dir(self.config, True, progress)))
        return opened[0] if opened else open_run_dir(self.config, False)

    def run(self) -> None:
        """Resume from the latest valid checkpoint if there is one, and train all phases to their end."""
        self.resume()
        for number, phase in enumerate(self.phases):
            if number >= self.state.phase and phase.steps:
                self._run_phase(number, phase)

    def _run_phase(self, number: int, phase: PhaseConfig) -> None:
        """Train one phase to its end and export its generator.

        Batches flow from the reader thread to the device, one per step; metrics stay on the device until `_after_step`
        reads a window of them. A condition that guards a collective has the same value on every process.
        """
        state = self.state
        if number > state.phase:
            self._start_phase(number)
        last = state.phase_start + phase.steps
        batches = self._batches()
        self.progress.start_phase()
        try:
            while not state.phase_over:
                self._train_step(batches, phase)
                self.progress.advance()
                state.phase_over = state.step == last
                self._after_step()
        finally:
            batches.close()
            self.progress.close()
        self._export(phase)

    def _start_phase(self, number: int) -> None:
        self.state.start_phase(number)
        self.meter.flops_per_crop = 0
        if number == 1:
            self.networks.start_adversarial()
            if warmup := self.config.discriminator_warmup:
                log.info("the discriminator learns alone in the first %d steps of %s", warmup, self.phases[1].label)

    def _batches(self) -> Batches:
        a, state = self.accelerator, self.state
        local_crops, first = state.share(state.step, a.process_index, a.num_processes)
        batches = self.feed.batches(local_crops, first, state.crops_per_step, a.device)
        batches.stop_requested = self.coordinator.requested
        return batches

    def _train_step(self, batches: Batches, phase: PhaseConfig) -> None:
        """Run one optimizer step. Nothing here waits for the device: work is queued and no value is read back."""
        started = time.perf_counter()
        parts = self._next(batches).split(self.config.accumulate)
        waited = time.perf_counter() - started  # for the reader, not for the device
        state = self.state
        done = state.step - state.phase_start
        terms, skipped = self.networks.update(
            parts,
            phase.schedule.at(done, phase.steps),
            measure_gradient_shares=(state.step + 1) % self.config.gradient_shares_every == 0,
            discriminator_alone=state.phase == 1 and done < self.config.discriminator_warmup,
        )
        self.meter.add(terms, skipped, waited)
        self.skipped_steps.counts.add(terms, skipped, state.step)
        state.step += 1
        self.profiler.step()
        if self.startup:
            self.reporter.first_step(self.startup)
            self.startup = None

    def _next(self, batches: Batches) -> Pair:
        """Return the next batch, unless training is to stop while its data does not arrive.

        Raises:
            StopRequested: after writing a checkpoint.
            ValueError: the same with several processes, which cannot write one without each other.
        """
        try:
            return next(batches)
        except StoppedWaitingError as stop:
            reason, processes = f"{stop}, while waiting for data", self.accelerator.num_processes
        if processes > 1:
            raise ValueError(f"stopped ({reason}); run the same command again to resume from the last checkpoint")
        self._save()
        raise StopRequested(reason)

    def _after_step(self) -> None:
        """Log, validate, save and stop, each when it is due.

        The order matters: validation may end the phase, which makes everything after it due; and the checkpoint must
        contain its score, because a resumed run continues behind this step and does not validate again.
        """
        config, step = self.config, self.state.step
        if logged := self._due(config.log_every):
            self._read_window()
        improved = self._due(config.validation.every) and self._validate()
        if self.state.phase_over and not logged:  # validation ended the phase early
            self._read_window()
        stop_reason = self._decide() if self.coordinator.due(step) or self.state.phase_over else ""
        if improved or stop_reason or self._due(config.checkpoint.every):
            self._save()
        if stop_reason:
            raise StopRequested(stop_reason)

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.phase_over

    def _read_window(self) -> None:
        if self.is_main_process and not self.meter.flops_per_crop and peak_tflops(self.accelerator.device):
            self.meter.flops_per_crop = self.networks.flops_per_crop()
        metrics = self.reporter.window(self.state, self.meter.read(self.state.crops_per_step))
        self.progress.window(metrics, self.reporter.epoch(self.state))

    @contextmanager
    def _activity(self, kind: str) -> Generator[None]:
        """Leave the time of a block, in which no step runs, out of the pace."""
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()  # the steps that are queued still belong to the pace
        started = time.perf_counter()
        with self.progress.activity(kind):
            yield
        self.meter.exclude(time.perf_counter() - started)

    def _validate(self) -> bool:
        """Validate the averaged generator; return whether it is the best of the phase, whose checkpoint is kept."""
        if not self.validation:
            return False
        with explain_out_of_memory(self.config, "validation"), self._activity("validation"):
            scores, images = self.validation(self.networks.ema.module)
        self.progress.validated(scores["psnr_y"])
        self.reporter.validation(self.state.step, self.validation, scores, images)
        best_by, patience = self.config.validation.rule(self.state.phase)
        if best_by == "last" or (best_by == "niqe" and not self.validation.rates_naturalness):
            return False
        return self.state.add_validation(self.validation.score(scores, best_by), patience, best_by)

    def _decide(self) -> str:
        """Return the reason for a requested stop, or an empty string; the same on every process."""
        decision = self.coordinator.decide(self.state.step, self.skipped_steps.counts)
        self.skipped_steps.check(decision, self.state)
        return decision.stop

    def _save(self) -> None:
        with self._activity("checkpoint"):
            content = self._state_dict()  # collective: gathers what each process has measured
            if self.is_main_process:
                self.lock.check()  # another job may have taken over while this one was suspended
                best, keep = self.state.best[1] or None, self.config.checkpoint.keep
                checkpoint.save(self.run_dir.checkpoints, self.state.step, content, keep, best)
                self.progress.record()
            self.accelerator.wait_for_everyone()  # no process may exit, or raise, before the checkpoint is complete

    def _state_dict(self) -> dict[str, Any]:
        parts = {"meter": self.meter.state_dict(), "networks": self.networks.state_dict()}
        return self.state.state_dict() | {"degradation": self.degradation} | parts

    def resume(self) -> None:
        """Restore the checkpoint that all processes agreed on, if there is one, and log where training starts."""
        content, self._checkpoint = self._checkpoint, None
        if content is not None:
            self.state.load_state_dict(content, self.accelerator.num_processes * self.config.accumulate)
            self.state.set_phase_steps(self.phases[self.state.phase].steps)
            self.networks.load_state_dict(content["networks"])
            self.meter.load_state_dict(content["meter"])
            log.info("resuming %s from step %d", self.run_dir.path, self.state.step)
        self.reporter.begin(self.state, self.validation)

    def _export(self, phase: PhaseConfig) -> None:
        if self.is_main_process:
            about = {"degradation": self.degradation, "data": self.feed.hashes}
            file = export_phase(self.config, phase, self.run_dir, self.networks.ema.module, about)
            self.reporter.tracker.artifact(file, "models")
            if weights := self.networks.discriminator_weights():
                file = self.run_dir.discriminator(phase.label)
                save_discriminator(file, weights, self.config.discriminator, self.config.data.hr_crop)
        self.accelerator.wait_for_everyone()

    def evaluate(self) -> Evaluation | None:
        """Evaluate each phase's generator and interpolation on the held-out images; write the run directory's results.

        Returns:
            The same on every process; None without held-out images.
        """
        log.info("final evaluation: full held-out images in float32")
        with explain_out_of_memory(self.config, "evaluation"):
            evaluation = evaluate_run(self.config, self.run_dir, self.held_out, self.accelerator)
        self.reporter.results(self.state, evaluation)
        return evaluation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self.profiler.close()
        self.coordinator.close()
        self.reporter.close(self.state.step, error)
        self.lock.release()  # last: until now, no other job may write to the run directory
