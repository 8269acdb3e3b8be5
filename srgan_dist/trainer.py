"""A training run from start to end: build, resume, train both phases, judge."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from srgan_dist import checkpoint
from srgan_dist.config import PhaseConfig, TrainConfig, check, flatten, to_dict
from srgan_dist.data.feed import Feed, open_data
from srgan_dist.data.shardset import ShardSet
from srgan_dist.data.stream import Batches
from srgan_dist.evaluate import (
    INTERPOLATIONS,
    Evaluation,
    Method,
    comparison,
    interpolation,
    judge,
    model_methods,
    shard_gallery,
    write_results,
)
from srgan_dist.export import load_generator, save_generator
from srgan_dist.meter import Meter
from srgan_dist.players import Players, load_vgg_early
from srgan_dist.processes import Ranks, start
from srgan_dist.progress import Progress, bar, start_logging
from srgan_dist.runs import RunDir
from srgan_dist.tracking import Tracker
from srgan_dist.validation import Validation

log = logging.getLogger("srgan_dist")


def train(config: TrainConfig) -> Evaluation | None:
    """Runs, or resumes, the training that `config` describes, and judges its result on the held-out pictures.

    Raises:
        ValueError: a configuration, data set or run directory that cannot be trained on, with the cure.
    """
    check(config)
    accelerator = start(config.mixed_precision, config.expect_world_size)
    start_logging(accelerator.is_main_process)
    feed, held_out = open_data(config.data, config.scale, config.seed, accelerator.process_index)
    load_vgg_early(config)
    trainer = Trainer(config, accelerator, feed, held_out)
    try:
        trainer.resume()
        trainer.run(config.pretrain, first=0)
        trainer.run(config.adversarial, first=config.pretrain.steps)
        evaluation = trainer.judge()
    except BaseException as error:
        trainer.close("failed", repr(error))
        raise
    trainer.close("done")
    return evaluation


class Trainer:
    """The loop, and what it calls: players, data, validation, checkpoints, tracking."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator, feed: Feed, held_out: ShardSet | None) -> None:
        self.config, self.accelerator, self.feed, self.held_out = config, accelerator, feed, held_out
        self.first_process = accelerator.is_main_process
        self.run_dir = RunDir(config, writes=self.first_process)
        self.players = Players(config, accelerator)
        self.validation = Validation(config.validation, held_out, accelerator) if held_out else None
        self.meter = Meter(accelerator)
        self.degradation = feed.degradation
        self.global_batch = config.data.batch * accelerator.num_processes
        self.step = 0
        self.best: list[float] = []
        """PSNR-Y and step of the phase's best validation, once there was one."""
        params = flatten(to_dict(config)) | {"data.manifests": feed.hashes, "global_batch": self.global_batch}
        tracking = replace(config.tracking, enabled=config.tracking.enabled and self.first_process)
        self.tracker = Tracker(tracking, self.run_dir.path, params)
        self._say_hello(feed)

    def run(self, phase: PhaseConfig, first: int) -> None:
        """Trains one phase to its end, from wherever the run stands."""
        last = first + phase.steps
        if self.step >= last:
            return
        if self.step == first:
            self._enter(phase)
        batches, progress = self._batches(), Progress(phase.label, self.step, last, visible=self.first_process)
        try:
            while self.step < last:
                asked = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - asked
                self.players.set_learning_rate(phase.schedule.at(self.step - first, phase.steps))
                self.meter.add(self.players.update(batch), waited)
                self.step += 1
                progress.advance()
                if self._due(self.config.log_every, last):
                    progress.show(self._log_terms())
                if self._due(self.config.validation.every, last):
                    self._validate()
                if self._due(self.config.checkpoint.every, last):
                    self._save()
        finally:
            batches.close()
            progress.close()
        self._export(phase)

    def _enter(self, phase: PhaseConfig) -> None:
        self.best = []
        if phase is self.config.adversarial:
            self.players.start_adversarial()

    def _batches(self) -> Batches:
        batch, rank = self.config.data.batch, self.accelerator.process_index
        start = self.step * self.global_batch + rank * batch  # the data's whole state is this number
        return self.feed.batches(start, self.global_batch, self.accelerator.device)

    def _due(self, every: int, last: int) -> bool:
        return self.step % every == 0 or self.step == last

    def _log_terms(self) -> dict[str, float]:
        terms = self.meter.read(self.global_batch)
        if self.config.data.on_bad == "skip":
            terms["replaced"] = self.feed.replaced(0, self.step * self.global_batch)
        self._record({f"train/{name}": value for name, value in terms.items()})
        return terms

    def _validate(self) -> None:
        if not self.validation:
            return
        quality, pictures = self.validation(self.players.ema.module)
        bicubic = self.validation.bicubic
        log.info("step %d  held out: %.2f dB, SSIM %.4f (bicubic %.2f dB)", self.step, *quality, bicubic.psnr_y)
        self._record({"valid/psnr_y": quality.psnr_y, "valid/ssim_y": quality.ssim_y, "valid/bicubic": bicubic.psnr_y})
        for crop, picture in zip(self.validation.crops, pictures, strict=True):
            self.tracker.image(crop.name, picture, self.step)
        if not self.best or quality.psnr_y > self.best[0]:
            self.best = [quality.psnr_y, self.step]
            self._save()

    def _record(self, numbers: dict[str, float]) -> None:
        self.run_dir.append_metrics(self.step, numbers)
        self.tracker.metrics(self.step, numbers)

    def _save(self) -> None:
        if self.first_process:
            best = int(self.best[1]) if self.best else None
            checkpoint.save(self.run_dir.checkpoints, self.step, self._state(), self.config.checkpoint.keep, best)
            self.run_dir.status("running", self.step)
        self.accelerator.wait_for_everyone()

    def _state(self) -> dict[str, object]:
        meter = self.meter.state_dict()
        return {"step": self.step, "best": self.best, "meter": meter, "players": self.players.state_dict()}

    def resume(self) -> None:
        """Takes up the newest whole checkpoint, if there is one."""
        state = checkpoint.load_latest(self.run_dir.checkpoints)
        if state is None:
            self.run_dir.truncate_metrics(0)
        else:
            self.step, self.best = state["step"], state["best"]
            self.players.load_state_dict(state["players"])
            self.meter.load_state_dict(state["meter"])
            self.run_dir.truncate_metrics(self.step)
            log.info("resuming %s at step %d", self.run_dir.path, self.step)
        self.run_dir.status("running", self.step)

    def _export(self, phase: PhaseConfig) -> None:
        if self.first_process:
            notes = {"label": phase.label, "scale": self.config.scale, "degradation": self.degradation}
            file = self.run_dir.model(phase.label)
            save_generator(file, self.players.ema.module, self.config.generator, notes)
            self.tracker.artifact(file, "models")
        self.accelerator.wait_for_everyone()

    def judge(self) -> Evaluation | None:
        """Every phase's result beside interpolation, on the held-out pictures; written to the run directory."""
        if not self.held_out:
            return None
        methods = self._methods()
        gallery = shard_gallery(self.held_out, Path(self.config.data.shards[0]).name)
        evaluation = judge(gallery, methods, Ranks(self.accelerator), bar)
        if self.first_process:
            shown = {name: method for name, method in methods.items() if name != "nearest"}
            write_results(evaluation, comparison(gallery, shown), self.run_dir.path)
            for name in ("evaluation.json", "comparison.png"):
                self.tracker.artifact(self.run_dir.path / name)
            finals = {f"final/{n}": q.psnr_y for n, q in evaluation.means().items()}
            self.tracker.metrics(self.step, finals)
        return evaluation

    def _methods(self) -> dict[str, Method]:
        phases = [p for p in (self.config.pretrain, self.config.adversarial) if p.steps]
        files = tuple(self.run_dir.model(p.label) for p in phases)
        models = model_methods([load_generator(f) for f in files], files, str(self.accelerator.device))
        return {name: interpolation(name, self.config.scale) for name in INTERPOLATIONS} | models

    def close(self, outcome: str, reason: str = "") -> None:
        """Says how the run ended, in `status.json` and MLflow."""
        self.run_dir.status("done" if outcome == "done" else "failed", self.step, reason)
        self.tracker.close("FINISHED" if outcome == "done" else "FAILED")
        if outcome == "done":
            self.accelerator.end_training()

    def _say_hello(self, feed: Feed) -> None:
        a, batch = self.accelerator, self.config.data.batch
        log.info("%s: %s", self.run_dir.path, feed.summary)
        log.info(
            "%d process(es) on %s, precision %s, batch %d x %d = %d crops per step",
            a.num_processes, a.device.type, a.mixed_precision, a.num_processes, batch, self.global_batch,
        )  # fmt: skip
