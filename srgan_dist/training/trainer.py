"""A training run from start to end: build, resume, train both phases, evaluate."""

import logging
import time
from types import TracebackType
from typing import Any, Self

from accelerate import Accelerator

from srgan_dist.data.loading.feed import Feed, open_data
from srgan_dist.data.loading.prefetch import Batches
from srgan_dist.data.shards.cache import cache_folder
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.accelerator import on_first, start
from srgan_dist.distributed.coordination import StopCoordinator, StopRequested
from srgan_dist.evaluation.results import Evaluation, read_evaluation
from srgan_dist.runs import checkpoint
from srgan_dist.runs.lock import RunLock
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.compilation import choose_kernels, prepare_compilation
from srgan_dist.training.config import PhaseConfig, TrainConfig, check
from srgan_dist.training.final_evaluation import evaluate_run, export_phase
from srgan_dist.training.flops import peak_tflops
from srgan_dist.training.meter import Meter
from srgan_dist.training.out_of_memory import memory_explained
from srgan_dist.training.reporting import Reporter, check_tracking
from srgan_dist.training.run_state import (
    RunState,
    is_finished,
    open_run_dir,
    progress_of,
    resume_point,
    with_epochs_as_steps,
)
from srgan_dist.training.skipped_steps import SkippedSteps
from srgan_dist.training.startup_timer import Startup
from srgan_dist.training.trainable import Networks, load_vgg_early
from srgan_dist.training.validation import Validation
from srgan_dist.utils.profiling import Profiler
from srgan_dist.utils.progress import Progress, start_logging
from srgan_dist.utils.unions import tag

log = logging.getLogger("srgan_dist")


def train(config: TrainConfig, startup: Startup | None = None) -> Evaluation | None:
    """Train, or resume, what `config` describes, and evaluate the result on the held-out images.

    Args:
        startup: began with the command; by default now.

    Raises:
        ValueError: a configuration, data set or run directory that cannot be trained on, and what to do about it.
        StopRequested: stopped on request, with a checkpoint; the same call goes on.
    """
    accelerator = start(config.mixed_precision, config.expect_world_size, config.threads)
    start_logging(accelerator.is_main_process)
    if on_first(accelerator, lambda: is_finished(config)):
        last = "adversarial" if config.adversarial.steps else "pretrain"
        log.info("%s is finished; with more steps it trains on: --%s.steps N", config.run_dir, last)
        return read_evaluation(config.run_dir, config.scale)
    with memory_explained(config), prepare(config, startup) as trainer:
        trainer.run()
        return trainer.evaluate()


def prepare(config: TrainConfig, startup: Startup | None = None) -> "Trainer":
    """Check and build everything that a run needs; nothing is trained.

    Raises:
        ValueError: see `train`.
    """
    check(config)
    startup = startup or Startup()
    accelerator = start(config.mixed_precision, config.expect_world_size, config.threads)
    start_logging(accelerator.is_main_process)
    choose_kernels(config.deterministic, config.compile)
    check_tracking(config, accelerator)
    startup.mark("joining")
    feed, held_out = open_data(config.data, config.scale, config.seed, accelerator.process_index)
    startup.mark("data")
    load_vgg_early(config, accelerator)
    prepare_compilation(config.compilation, cache_folder(config.data.cache))
    lock = RunLock(config.run_dir)
    while not on_first(accelerator, lock.try_acquire):
        time.sleep(1)
    try:
        trainer = Trainer(config, accelerator, feed, held_out, startup, lock)
    except BaseException:
        lock.release()
        raise
    startup.mark("networks")
    return trainer


class Trainer:
    """The loop, and what it calls: networks, data, validation, checkpoints, reports.

    Use it as a context manager: leaving it says how the run ended.
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
        """Of the run directory; held."""
        self._resumed = resume_point(config, accelerator)
        asked = config.data.batch * config.accumulate * accelerator.num_processes
        crops_per_step = self._resumed["crops_per_step"] if self._resumed else asked
        config = with_epochs_as_steps(config, feed.images, crops_per_step)
        self.config, self.accelerator, self.feed, self.held_out = config, accelerator, feed, held_out
        self.startup: Startup | None = startup
        """Until the first step is done."""
        self.phases = (config.pretrain, config.adversarial)
        self.first_process = accelerator.is_main_process
        self.run_dir = self._open_run_dir()
        self.coordinator = StopCoordinator(accelerator, config.run_dir, config.time_limit)
        self.networks = Networks(config, accelerator)
        validated = held_out if config.validation.images else None
        self.validation = Validation(config.validation, validated, accelerator) if validated else None
        self.meter = Meter(accelerator)
        recorded = config.profile if self.first_process else 0
        self.profiler = Profiler(recorded, config.run_dir / "profile", accelerator.device)
        self.skipped_steps = SkippedSteps(config, accelerator, feed)
        self.degradation = tag(type(config.degradation)) if config.degradation else feed.degradation
        self.state = RunState(crops_per_step)
        self.reporter = Reporter(config, accelerator, self.run_dir, feed, self.state.crops_per_step)

    def _open_run_dir(self) -> RunDir:
        progress = progress_of(self._resumed, self.accelerator.num_processes) if self._resumed else None
        opened: list[RunDir] = []
        on_first(self.accelerator, lambda: opened.append(open_run_dir(self.config, True, progress)))
        return opened[0] if opened else open_run_dir(self.config, False)

    def run(self) -> None:
        """Resume from the latest valid checkpoint, if there is one, and train all phases to their end."""
        self.resume()
        for number, phase in enumerate(self.phases):
            if number >= self.state.phase and phase.steps:
                self._run_phase(number, phase)

    def _run_phase(self, number: int, phase: PhaseConfig) -> None:
        state = self.state
        if number > state.phase:
            self._start_phase(number)
        last = state.phase_start + phase.steps
        batches, progress = self._batches(), Progress(phase.label, state.step, last, visible=self.first_process)
        try:
            while not state.phase_over:
                self._train_step(batches, phase)
                progress.advance()
                state.phase_over = state.step == last
                self._after_step(progress)
        finally:
            batches.close()
            progress.close()
        self._export(phase)

    def _start_phase(self, number: int) -> None:
        self.state.start_phase(number)
        self.meter.flops_per_crop = 0
        if number == 1:
            self.networks.start_adversarial()

    def _batches(self) -> Batches:
        a, state = self.accelerator, self.state
        mine, first = state.share(state.step, a.process_index, a.num_processes)
        return self.feed.batches(mine, first, state.crops_per_step, a.device)

    def _train_step(self, batches: Batches, phase: PhaseConfig) -> None:
        asked = time.perf_counter()
        parts = next(batches).split(self.config.accumulate)
        waited = time.perf_counter() - asked
        state = self.state
        rate = phase.schedule.at(state.step - state.phase_start, phase.steps)
        terms, skipped = self.networks.update(
            parts, rate, measure_gradient_shares=(state.step + 1) % self.config.gradient_shares_every == 0
        )
        self.meter.add(terms, skipped, waited)
        self.skipped_steps.counts.add(terms, skipped, state.step)
        state.step += 1
        self.profiler.step()
        if self.startup:
            self.reporter.first_step(self.startup)
            self.startup = None

    def _after_step(self, progress: Progress) -> None:
        """Log, validate, save and stop, each when it is time."""
        config, step = self.config, self.state.step
        if read := self._due(config.log_every):
            progress.show(self._read_window())
        improved = self._due(config.validation.every) and self._validate()
        if self.state.phase_over and not read:  # the phase ended early
            progress.show(self._read_window())
        request = self._decide() if self.coordinator.due(step) or self.state.phase_over else ""
        if improved or request or self._due(config.checkpoint.every):
            self._save()
        if request:
            raise StopRequested(request)

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.phase_over

    def _read_window(self) -> dict[str, float]:
        if self.first_process and not self.meter.flops_per_crop and peak_tflops(self.accelerator.device):
            self.meter.flops_per_crop = self.networks.flops_per_crop()
        return self.reporter.window(self.state, self.meter.read(self.state.crops_per_step))

    def _validate(self) -> bool:
        """Evaluate the held-out crops; return whether the generator is the phase's best so far, which is kept."""
        if not self.validation:
            return False
        with memory_explained(self.config, "validation"):
            quality, images = self.validation(self.networks.ema.module)
        self.reporter.validation(self.state.step, self.validation, quality, images)
        best_by, patience = self.config.validation.rule(self.state.phase)
        return best_by != "last" and self.state.add_validation(getattr(quality, best_by), patience)

    def _decide(self) -> str:
        """Return why to stop, if somebody asked; all processes get the same answer."""
        decision = self.coordinator.decide(self.state.step, self.skipped_steps.counts)
        self.skipped_steps.check(decision, self.state)
        return decision.stop

    def _save(self) -> None:
        content = self._state_dict()
        if self.first_process:
            self.lock.check()
            best, keep = self.state.best[1] or None, self.config.checkpoint.keep
            checkpoint.save(self.run_dir.checkpoints, self.state.step, content, keep, best)
            self.run_dir.status("running", self.state.step)
        self.accelerator.wait_for_everyone()

    def _state_dict(self) -> dict[str, Any]:
        parts = {"meter": self.meter.state_dict(), "networks": self.networks.state_dict()}
        return self.state.state_dict() | {"degradation": self.degradation} | parts

    def resume(self) -> None:
        """Restore the checkpoint that all processes agreed on, with the crops per step that it was made with."""
        content, self._resumed = self._resumed, None
        if content is not None:
            self.state.load_state_dict(content, self.accelerator.num_processes * self.config.accumulate)
            self.state.fit_phase(self.phases[self.state.phase].steps)
            self.networks.load_state_dict(content["networks"])
            self.meter.load_state_dict(content["meter"])
            log.info("resuming %s at step %d", self.run_dir.path, self.state.step)
        self.reporter.begin(self.state, self.validation)

    def _export(self, phase: PhaseConfig) -> None:
        if self.first_process:
            about = {"degradation": self.degradation, "data": self.feed.hashes}
            file = export_phase(self.config, phase, self.run_dir, self.networks.ema.module, about)
            self.reporter.tracker.artifact(file, "models")
        self.accelerator.wait_for_everyone()

    def evaluate(self) -> Evaluation | None:
        """Evaluate every phase's result beside interpolation on the held-out images; written to the run directory."""
        log.info("final evaluation: complete held-out images, in full precision")
        with memory_explained(self.config, "evaluation"):
            evaluation = evaluate_run(self.config, self.run_dir, self.held_out, self.accelerator)
        self.reporter.results(self.state, evaluation)
        return evaluation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self.profiler.close()
        self.coordinator.close()
        self.reporter.close(self.state.step, error)
        self.lock.release()
