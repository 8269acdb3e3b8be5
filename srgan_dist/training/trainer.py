"""A training run from start to end: build, resume, train both phases, judge."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from srgan_dist.data.loading.feed import Feed, open_data
from srgan_dist.data.loading.prefetch import Batches
from srgan_dist.data.shards.cache import cache_folder
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.accelerator import Ranks, start
from srgan_dist.distributed.coordination import Consensus, Skips, StopRequested
from srgan_dist.evaluation.comparison import write_page
from srgan_dist.evaluation.evaluate import judge_run
from srgan_dist.evaluation.evaluation_set import shard_gallery
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.models.files import save_generator
from srgan_dist.runs import checkpoint
from srgan_dist.training.compilation import prepare_compilation
from srgan_dist.training.config import PhaseConfig, TrainConfig, check
from srgan_dist.training.flops import peak_tflops
from srgan_dist.training.gan_health import verdicts
from srgan_dist.training.meter import Meter
from srgan_dist.training.out_of_memory import memory_explained
from srgan_dist.training.reporting import begin, check_tracking, log_results, open_tracker
from srgan_dist.training.run_state import open_run_dir
from srgan_dist.training.startup_timer import Startup
from srgan_dist.training.trainable import Players, load_vgg_early
from srgan_dist.training.validation import Validation
from srgan_dist.utils.progress import Progress, bar, start_logging
from srgan_dist.utils.unions import tag

log = logging.getLogger("srgan_dist")


def train(config: TrainConfig, startup: Startup | None = None) -> Evaluation | None:
    """Runs, or resumes, the training that `config` describes, and judges its result on the held-out pictures.

    Args:
        startup: began with the command; by default now.

    Raises:
        ValueError: a configuration, data set or run directory that cannot be trained on, with the cure.
        StopRequested: stopped on request, with a checkpoint; the same call goes on.
    """
    with memory_explained(config):
        trainer = prepare(config, startup)
        try:
            trainer.resume()
            for number, phase in enumerate(trainer.phases):
                trainer.run(number, phase)
            evaluation = trainer.judge()
        except BaseException as error:
            trainer.close(error)
            raise
        trainer.close()
    return evaluation


def prepare(config: TrainConfig, startup: Startup | None = None) -> "Trainer":
    """Everything that a run needs, checked and built, nothing trained.

    Raises:
        ValueError: see `train`.
    """
    check(config)
    startup = startup or Startup()
    accelerator = start(config.mixed_precision, config.expect_world_size, config.threads)
    start_logging(accelerator.is_main_process)
    check_tracking(config, accelerator)
    startup.mark("joining")
    feed, held_out = open_data(config.data, config.scale, config.seed, accelerator.process_index)
    startup.mark("data")
    load_vgg_early(config)
    prepare_compilation(config.compile, cache_folder(config.data.cache))
    trainer = Trainer(config, accelerator, feed, held_out, startup)
    startup.mark("networks")
    return trainer


class Trainer:
    """The loop, and what it calls: players, data, validation, checkpoints, tracking."""

    def __init__(
        self, config: TrainConfig, accelerator: Accelerator, feed: Feed, held_out: ShardSet | None, startup: Startup
    ) -> None:
        self.config, self.accelerator, self.feed, self.held_out = config, accelerator, feed, held_out
        self.startup: Startup | None = startup
        """Until the first step is done."""
        self.phases = (config.pretrain, config.adversarial)
        self.first_process = accelerator.is_main_process
        self.run_dir = open_run_dir(config, writes=self.first_process)
        self.consensus = Consensus(accelerator, config.run_dir, config.time_limit)
        self.players = Players(config, accelerator)
        self.validation = Validation(config.validation, held_out, accelerator) if held_out else None
        self.meter, self.skips = Meter(accelerator), Skips(accelerator.device)
        self.degradation = tag(type(config.degradation)) if config.degradation else feed.degradation
        self.data = feed.hashes
        self.crops_per_step = config.data.batch * config.accumulate * accelerator.num_processes
        self.step, self.phase, self.phase_start, self.phase_over = 0, -1, 0, True
        self.best, self.stale = (float("-inf"), 0), 0
        """PSNR-Y and step of the phase's best validation; how many validations ago that was."""
        self.verdicts: set[str] = set()
        self.tracker = open_tracker(config, accelerator, self.run_dir, feed, self.crops_per_step)

    def run(self, number: int, phase: PhaseConfig) -> None:
        """Trains one phase to its end, from wherever the run stands."""
        if number < self.phase or not phase.steps:
            return
        if number > self.phase:
            self._enter(number)
        last = self.phase_start + phase.steps
        batches, progress = self._batches(), Progress(phase.label, self.step, last, visible=self.first_process)
        try:
            while not self.phase_over:
                self._train_step(batches, phase)
                progress.advance()
                self.phase_over = self.step == last
                self._look_around(progress)
        finally:
            batches.close()
            progress.close()
        self._export(phase)

    def _enter(self, number: int) -> None:
        self.phase, self.phase_start, self.phase_over = number, self.step, False
        self.best, self.stale = (float("-inf"), 0), 0
        self.meter.flops_per_crop = 0
        if number == 1:
            self.players.start_adversarial()

    def _batches(self) -> Batches:
        mine = self.crops_per_step // self.accelerator.num_processes
        first = self.step * self.crops_per_step + self.accelerator.process_index * mine
        return self.feed.batches(mine, first, self.crops_per_step, self.accelerator.device)

    def _train_step(self, batches: Batches, phase: PhaseConfig) -> None:
        asked = time.perf_counter()
        parts = next(batches).split(self.config.accumulate)
        waited = time.perf_counter() - asked
        rate = phase.schedule.at(self.step - self.phase_start, phase.steps)
        terms, skipped = self.players.update(parts, rate, probe=(self.step + 1) % self.config.probe_every == 0)
        self.meter.add(terms, skipped, waited)
        self.skips.add(terms, skipped, self.step)
        self.step += 1
        if self.startup:
            self._say_started(self.startup)

    def _say_started(self, startup: Startup) -> None:
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        startup.mark("first step")
        log.info("%s", startup)
        self.startup = None

    def _look_around(self, progress: Progress) -> None:
        """After a step: log, validate, save, stop, each when it is time."""
        config = self.config
        if self._due(config.log_every):
            progress.show(self._log_terms())
        improved = self._due(config.validation.every) and self._validate()
        request = self._decide() if self.consensus.due(self.step) or self.phase_over else ""
        if improved or request or self._due(config.checkpoint.every):
            self._save()
        if request:
            raise StopRequested(request)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.phase_over

    def _log_terms(self) -> dict[str, float]:
        if self.first_process and not self.meter.flops_per_crop and peak_tflops(self.accelerator.device):
            self.meter.flops_per_crop = self._flops_per_crop()
        terms = self.meter.read(self.crops_per_step)
        if self.config.data.on_bad == "skip":
            terms["replaced"] = self.feed.replaced(0, self.step * self.crops_per_step)
        found = verdicts(terms)
        for verdict in found:
            if verdict.name not in self.verdicts:  # said when it begins, not at every line
                log.warning("step %d  %s", self.step, verdict.message)
        self.verdicts = {v.name for v in found}
        numbers = {f"train/{name}": value for name, value in terms.items()} | {"phase": self.phase + 1.0}
        self._record(numbers | {f"health/{name.replace(' ', '_')}": 1.0 for name in self.verdicts})
        return terms

    def _flops_per_crop(self) -> float:
        """Counting loads torch's compiler, which takes seconds: done only where it says how well a GPU is used."""
        try:
            return self.players.flops(self.config.data.batch) / self.config.data.batch
        except Exception as error:  # another program's network may need its device; one process must not fail alone
            log.warning("FLOP/s are not logged: the networks cannot be counted (%s)", error)
            return math.nan

    def _validate(self) -> bool:
        """Looks at the held-out crops; whether they are the phase's best so far, which is kept."""
        if not self.validation:
            return False
        quality, pictures = self.validation(self.players.ema.module)
        bicubic = self.validation.bicubic
        log.info("step %d  held out: %.2f dB, SSIM %.4f (bicubic %.2f dB)", self.step, *quality, bicubic.psnr_y)
        self._record({"valid/psnr_y": quality.psnr_y, "valid/ssim_y": quality.ssim_y, "valid/bicubic": bicubic.psnr_y})
        for crop, picture in zip(self.validation.crops, pictures, strict=True):
            self.tracker.image(crop.name, picture, self.step)
        improved = quality.psnr_y > self.best[0]
        self.best = (quality.psnr_y, self.step) if improved else self.best
        self.stale = 0 if improved else self.stale + 1
        if self.stale and self.stale == self.config.validation.patience:
            log.info("step %d  no better for %d validations: the phase ends early", self.step, self.stale)
            self.phase_over = True
        return improved

    def _record(self, numbers: dict[str, float]) -> None:
        self.run_dir.append_metrics(self.step, numbers)  # from there they go to MLflow

    def _decide(self) -> str:
        """Why to stop, if somebody asked; all processes get the same answer.

        Raises:
            ValueError: too many steps in a row had no finite gradient.
        """
        decision = self.consensus.decide(self.step, self.skips)
        if decision.new_skips:
            log.warning("step %d  %d step(s) skipped: gradients not finite", self.step, decision.new_skips)
        if decision.skipped_in_row >= self.config.max_skips:
            raise ValueError(
                f"{decision.skipped_in_row} steps in a row had no finite gradient, up to step {self.step}; the last "
                f"good checkpoint is in {self.run_dir.checkpoints}. {self._culprits()} Lower the learning rate, set "
                "--clip-norm, or look at these pictures."
            )
        return decision.stop

    def _culprits(self) -> str:
        """Which crops the last bad step of each process was made of."""
        batch = self.crops_per_step // self.accelerator.num_processes
        step = self.skips.read()[2]
        first = None if step is None else step * self.crops_per_step + self.accelerator.process_index * batch
        found = Ranks(self.accelerator).gather([] if first is None else [self.feed.describe(first, batch)])
        return " ".join(found) or "The losses were finite everywhere; only gradients overflowed."

    def _save(self) -> None:
        state = self._state()
        if self.first_process:
            best = self.best[1] or None
            checkpoint.save(self.run_dir.checkpoints, self.step, state, self.config.checkpoint.keep, best)
            self.run_dir.status("running", self.step)
        self.accelerator.wait_for_everyone()

    def _state(self) -> dict[str, Any]:
        names = ("step", "phase", "phase_start", "phase_over", "best", "stale", "crops_per_step")
        own = {name: getattr(self, name) for name in names}
        own["degradation"] = self.degradation
        return own | {"meter": self.meter.state_dict(), "players": self.players.state_dict()}

    def resume(self) -> None:
        """Takes up the newest whole checkpoint, if there is one, with the crops per step that it was made with."""
        state = checkpoint.load_latest(self.run_dir.checkpoints)
        if state is not None:
            self._keep_crops_per_step(state["crops_per_step"])
            for name in ("step", "phase", "phase_start", "phase_over", "stale"):
                setattr(self, name, state[name])
            self.best = (state["best"][0], state["best"][1])
            self.players.load_state_dict(state["players"])
            self.meter.load_state_dict(state["meter"])
            log.info("resuming %s at step %d", self.run_dir.path, self.step)
        self.run_dir.truncate_metrics(self.step)
        self.run_dir.status("running", self.step)
        begin(self.tracker, self.validation)
        self._say_hello()

    def _keep_crops_per_step(self, crops: int) -> None:
        parts = self.accelerator.num_processes * self.config.accumulate
        if crops % parts:
            raise ValueError(
                f"the run takes {crops} crops per step, which {parts} parts (processes x accumulate) cannot share "
                f"evenly; resume it with a number of processes that divides {crops}"
            )
        self.crops_per_step = crops

    def _export(self, phase: PhaseConfig) -> None:
        if self.first_process:
            notes = {
                "label": phase.label,
                "scale": self.config.scale,
                "degradation": self.degradation,
                "data": self.data,
            }
            file = self.run_dir.model(phase.label)
            save_generator(file, self.players.ema.module, self.config.generator, notes)
            self.tracker.artifact(file, "models")
        self.accelerator.wait_for_everyone()

    def judge(self) -> Evaluation | None:
        """Every phase's result beside interpolation, on the held-out pictures; written to the run directory."""
        evaluation = self._evaluation(self.held_out) if self.held_out else None
        log_results(self.tracker, self.run_dir, self.phases, self.config.scale, self.step, evaluation)
        return evaluation

    def _evaluation(self, held_out: ShardSet) -> Evaluation:
        files = tuple(self.run_dir.model(p.label) for p in self.phases if p.steps)
        name = Path(self.config.data.shards[0]).name
        device, ranks = str(self.accelerator.device), Ranks(self.accelerator)
        evaluation = judge_run(files, held_out, name, ranks, bar, device, self.run_dir.path)
        if self.first_process:
            write_page(self.run_dir.path, files, shard_gallery(held_out, name), evaluation, device)
        return evaluation

    def close(self, error: BaseException | None = None) -> None:
        """Says how the run ended, in `status.json` and MLflow."""
        self.consensus.close()
        if error is None:
            self.run_dir.status("done", self.step)
            self.tracker.close("FINISHED")
        elif isinstance(error, StopRequested):
            self.run_dir.status("preempted", self.step, str(error))
            self.tracker.close("KILLED")
        else:
            try:
                self.run_dir.fail(self.step, f"process {self.accelerator.process_index}: {error!r}")
            finally:
                self.tracker.close("FAILED")

    def _say_hello(self) -> None:
        log.info("%s: %s", self.run_dir.path, self.feed.summary)
        a, crops = self.accelerator, self.crops_per_step
        batch = crops // (a.num_processes * self.config.accumulate)
        log.info(
            "%s, precision %s; %d crops per step = %d process(es) x batch %d x accumulate %d",
            a.device.type, a.mixed_precision, crops, a.num_processes, batch, self.config.accumulate,
        )  # fmt: skip
