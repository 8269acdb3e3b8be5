"""The progress of a run, and opening the run directory and the checkpoint that it resumes from."""

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from srgan_dist.distributed.accelerator import AcceleratorGroup, run_on_main
from srgan_dist.distributed.group import AgreedError
from srgan_dist.runs import checkpoint
from srgan_dist.runs.changes import PHASES, Progress, find_changes
from srgan_dist.runs.run_dir import RunDir, fail_run
from srgan_dist.training.config import PhaseConfig, TrainConfig, read_run_config, recorded
from srgan_dist.utils.usage import UsageError

log = logging.getLogger("srgan_dist")

_WORST = (float("-inf"), 0)


@dataclass
class RunState:
    """The progress of a run; together with networks and meter, everything that a resumed run needs."""

    crops_per_step: int
    """Crops per step over all processes."""

    step: int = 0
    """Optimizer steps of the generator so far, over both phases."""

    phase: int = -1
    """Index of the current phase; -1 before the first one."""

    phase_start: int = 0
    """Step at which the current phase started."""

    phase_over: bool = True
    """Whether the current phase is finished."""

    best: tuple[float, int] = _WORST
    """Score and step of the best validation of the phase."""

    best_by: str = ""
    """The metric of that score; empty before the first validation, and in checkpoints of older versions."""

    stale: int = 0
    """Validations since the best one."""

    ended_early: bool = False
    """Whether the phase ended because validation stopped improving."""

    def start_phase(self, number: int) -> None:
        """Start a phase at the current step; the best validation of the previous phase does not count in it."""
        self.phase, self.phase_start, self.phase_over = number, self.step, False
        self.best, self.best_by, self.stale, self.ended_early = _WORST, "", 0, False

    def add_validation(self, score: float, patience: int, best_by: str = "") -> bool:
        """Record the score of a validation; return whether it is the best of the phase.

        Args:
            score: higher is better; -inf is never the best.
            patience: end the phase after this many validations without improvement; 0 never ends it.
            best_by: the metric of the score. If it changed since the last validation, the count starts over.
        """
        if self.best_by not in ("", best_by):  # scores of two metrics cannot be compared
            self.best, self.stale = _WORST, 0
        self.best_by = best_by
        improved = score > self.best[0]
        self.best = (score, self.step) if improved else self.best
        self.stale = 0 if improved else self.stale + 1
        if self.stale and self.stale == patience:
            log.info("step %d  no improvement in %d validations: ending the phase early", self.step, self.stale)
            self.phase_over = self.ended_early = True
        return improved

    def share(self, step: int, rank: int, size: int) -> tuple[int, int]:
        """Return how many crops of a step belong to process `rank` of `size`, and the index of the first in the run."""
        local = self.crops_per_step // size
        return local, step * self.crops_per_step + rank * local

    def state_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any], parts: int) -> None:
        """Restore a `state_dict`; other keys of the dictionary are ignored.

        Args:
            parts: processes x accumulate, the number of parts that a step's crops are divided into now.

        Raises:
            ValueError: if the run's crops per step are not divisible by `parts`.
        """
        crops = state["crops_per_step"]
        if crops % parts:
            raise ValueError(
                f"the run uses {crops} crops per step, which cannot be divided evenly into {parts} parts (processes x "
                f"accumulate); resume it with a number of processes that divides {crops}"
            )
        for name in asdict(self).keys() & state.keys():  # checkpoints of older versions lack some
            setattr(self, name, state[name])
        self.best = (state["best"][0], state["best"][1])

    def set_phase_steps(self, steps: int) -> None:
        """Apply the configured number of steps of the current phase, which a resumed run may have changed.

        A finished phase may continue with more steps, unless it ended early; a shortened one may be finished now.
        """
        self.phase_over = self.ended_early or self.step - self.phase_start >= steps


def with_epochs_as_steps(config: TrainConfig, images: int | None, crops_per_step: int) -> TrainConfig:
    """Return the configuration with epochs converted to steps.

    Args:
        images: number of training images; None for a stream, whose length is unknown.
        crops_per_step: over all processes; for a resumed run, the number that it was started with.

    Raises:
        ValueError: if the epochs of a phase are not positive, or the data is a stream.
    """
    phases: dict[str, PhaseConfig] = {}
    for name, phase in (("pretrain", config.pretrain), ("adversarial", config.adversarial)):
        if phase.epochs is None:
            continue
        if images is None:
            raise UsageError(f"{name}.epochs={phase.epochs:g}: a stream has no epochs; use --{name}.steps instead")
        if phase.epochs <= 0:
            raise UsageError(f"{name}.epochs={phase.epochs:g} must be positive; --{name}.steps 0 skips the phase")
        phases[name] = replace(phase, steps=max(1, round(phase.epochs * images / crops_per_step)))
    return replace(config, **phases)


def open_run_dir(config: TrainConfig, writes: bool, progress: Progress | None = None) -> RunDir:
    """Open the directory of a new or resumed run.

    Args:
        writes: whether this process may write to the directory.
        progress: how far the run in it has come; None if it has no checkpoint.

    Raises:
        ValueError: if it contains a run that cannot be resumed with this configuration.
    """
    before = read_run_config(config.run_dir)
    return RunDir(config.run_dir, recorded(config), recorded(before) if before else None, writes, progress)


def progress_of(content: dict[str, Any], processes: int) -> Progress:
    """Return how far the run of a checkpoint has come; `processes` is the number that will resume it."""
    steps = content["step"] - content["phase_start"]
    return Progress(content["phase"], steps, content["crops_per_step"], processes)


def load_resume_checkpoint(config: TrainConfig, accelerator: Accelerator) -> dict[str, Any] | None:
    """Load the checkpoint to resume from; None for a new run. Collective.

    Rank 0 chooses the latest valid checkpoint and announces its step and hash. The other processes load that very file:
    if each looked for the latest one itself, a file system that lags behind would make them train different weights.

    Raises:
        AgreedError: on every process, if one of them cannot read the chosen checkpoint.
    """
    folder = config.run_dir / "checkpoints"
    found = checkpoint.load_latest(folder) if accelerator.is_main_process else None
    if accelerator.num_processes == 1:
        return found
    chosen = run_on_main(accelerator, lambda: _step_and_hash(folder, found))
    content, problem = found, ""
    if not accelerator.is_main_process:
        content, problem = _load_chosen(folder, chosen)
    problems = [p for p in AcceleratorGroup(accelerator).gather([problem]) if p]
    if problems:
        reason = f"the processes cannot resume together: {'; '.join(f'process {p}' for p in problems)}"
        if accelerator.is_main_process:
            fail_run(config.run_dir, found["step"] if found else 0, reason)
        raise AgreedError(f"{reason}. {config.run_dir} must be on a file system that all machines share")
    return content


def _step_and_hash(folder: Path, found: dict[str, Any] | None) -> tuple[int, str]:
    """Return step and hash of the checkpoint that rank 0 found; step -1 for a new run."""
    return (found["step"], checkpoint.digest_of(folder / checkpoint.name_of(found["step"]))) if found else (-1, "")


def _load_chosen(folder: Path, chosen: tuple[int, str]) -> tuple[dict[str, Any] | None, str]:
    """Load the checkpoint that rank 0 chose; return it, and the problem on this process, starting with its rank."""
    (step, digest), rank = chosen, os.environ.get("RANK", "?")
    if step < 0:
        existing = [f.name for f in folder.glob("step-*")]
        return None, f"{rank} finds {max(existing)} in {folder}, but process 0 finds no checkpoint" if existing else ""
    path = folder / checkpoint.name_of(step)
    if checkpoint.digest_of(path) != digest:
        difference = "a different checkpoint" if path.is_dir() else "no checkpoint"
        return None, f"{rank} finds {difference} at {path}"
    try:
        return checkpoint.load(path), ""
    except ValueError as error:
        return None, f"{rank}: {error}"


def is_finished(config: TrainConfig) -> bool:
    """Return whether the run directory contains this run, completely trained and evaluated."""
    before = read_run_config(config.run_dir)
    if before is None or RunDir.state_of(config.run_dir) != "done":
        return False
    derived = {f"{name}.steps" for name in PHASES if getattr(config, name).epochs is not None}
    return {c.name for c in find_changes(recorded(before), recorded(config))} <= derived
