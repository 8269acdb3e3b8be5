"""Where a run stands, and the directory that it is kept in."""

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from srgan_dist.distributed.accelerator import AcceleratorGroup, on_first
from srgan_dist.distributed.group import AgreedError
from srgan_dist.runs import checkpoint
from srgan_dist.runs.changes import PHASES, Progress, find_changes
from srgan_dist.runs.run_dir import RunDir, fail_run
from srgan_dist.training.config import PhaseConfig, TrainConfig, read_run_config
from srgan_dist.utils.serialization import to_dict

log = logging.getLogger("srgan_dist")

_WORST = (float("-inf"), 0)


@dataclass
class RunState:
    """The numbers that a run goes on from, beside its networks and the means that nobody has read yet."""

    crops_per_step: int
    """Of all processes together."""

    step: int = 0
    """Optimizer steps of the generator, over both phases."""

    phase: int = -1
    """Index of the phase; -1 before the first one."""

    phase_start: int = 0
    """The step that the phase began at."""

    phase_over: bool = True
    """Whether the phase has come to its end."""

    best: tuple[float, int] = _WORST
    """Score and step of the phase's best validation."""

    stale: int = 0
    """How many validations ago that was."""

    ended_early: bool = False
    """Whether the phase ended because no validation got better."""

    def start_phase(self, number: int) -> None:
        """Begin a phase at the present step; what was best before does not count in it."""
        self.phase, self.phase_start, self.phase_over = number, self.step, False
        self.best, self.stale, self.ended_early = _WORST, 0, False

    def add_validation(self, score: float, patience: int) -> bool:
        """Take note of a validation; return whether it is the phase's best.

        Args:
            score: more is better.
            patience: end the phase after this many validations without a better one; 0 never does.
        """
        improved = score > self.best[0]
        self.best = (score, self.step) if improved else self.best
        self.stale = 0 if improved else self.stale + 1
        if self.stale and self.stale == patience:
            log.info("step %d  no better for %d validations: the phase ends early", self.step, self.stale)
            self.phase_over = self.ended_early = True
        return improved

    def share(self, step: int, rank: int, size: int) -> tuple[int, int]:
        """Return how many of a step's crops are those of process `rank` of `size`, and the index of the first."""
        mine = self.crops_per_step // size
        return mine, step * self.crops_per_step + rank * mine

    def state_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any], parts: int) -> None:
        """Restore what `state_dict` gave; other keys of the dictionary are left alone.

        Args:
            parts: among how many processes and accumulated batches a step's crops are divided now.

        Raises:
            ValueError: the run's crops per step cannot be divided among so many.
        """
        crops = state["crops_per_step"]
        if crops % parts:
            raise ValueError(
                f"the run takes {crops} crops per step, which {parts} parts (processes x accumulate) cannot share "
                f"evenly; resume it with a number of processes that divides {crops}"
            )
        for name in asdict(self).keys() & state.keys():  # those of older versions have fewer
            setattr(self, name, state[name])
        self.best = (state["best"][0], state["best"][1])

    def fit_phase(self, steps: int) -> None:
        """Take over how many steps the present phase has now: a finished one may go on, another one may be over."""
        self.phase_over = self.ended_early or self.step - self.phase_start >= steps


def with_epochs_as_steps(config: TrainConfig, images: int | None, crops_per_step: int) -> TrainConfig:
    """Return the configuration with the steps that its phases' epochs are.

    Args:
        images: of the training data; None for a stream, whose length nobody knows.
        crops_per_step: of all processes together; of a resumed run, those that it began with.

    Raises:
        ValueError: epochs of a stream, or fewer than a step.
    """
    phases: dict[str, PhaseConfig] = {}
    for name, phase in (("pretrain", config.pretrain), ("adversarial", config.adversarial)):
        if phase.epochs is None:
            continue
        if images is None:
            raise ValueError(f"{name}.epochs={phase.epochs:g}: a stream has no epochs; give --{name}.steps")
        if phase.epochs <= 0:
            raise ValueError(f"{name}.epochs={phase.epochs:g} must be above 0; --{name}.steps 0 leaves the phase out")
        phases[name] = replace(phase, steps=max(1, round(phase.epochs * images / crops_per_step)))
    return replace(config, **phases)


def open_run_dir(config: TrainConfig, writes: bool, progress: Progress | None = None) -> RunDir:
    """Open the run's directory, new or to be resumed; only processes with `writes` change it.

    Args:
        progress: how far the run in it has come; None if nothing was saved.

    Raises:
        ValueError: it holds a run that cannot go on with this configuration.
    """
    before = read_run_config(config.run_dir)
    return RunDir(config.run_dir, to_dict(config), to_dict(before) if before else None, writes, progress)


def progress_of(content: dict[str, Any], processes: int) -> Progress:
    """Return how far the run of a checkpoint has come, to be resumed by so many processes."""
    steps = content["step"] - content["phase_start"]
    return Progress(content["phase"], steps, content["crops_per_step"], processes)


def resume_point(config: TrainConfig, accelerator: Accelerator) -> dict[str, Any] | None:
    """Load the checkpoint that the first process chooses, the same on every process; None for a new run.

    Raises:
        AgreedError: there is none that every process can read.
    """
    folder = config.run_dir / "checkpoints"
    found = checkpoint.load_latest(folder) if accelerator.is_main_process else None
    if accelerator.num_processes == 1:
        return found
    chosen = on_first(accelerator, lambda: _chosen(folder, found))
    content, mine = found, ""
    if not accelerator.is_main_process:
        content, mine = _same_checkpoint(folder, chosen)
    problems = [p for p in AcceleratorGroup(accelerator).gather([mine]) if p]
    if problems:
        reason = f"the processes cannot resume together: {'; '.join(f'process {p}' for p in problems)}"
        if accelerator.is_main_process:
            fail_run(config.run_dir, found["step"] if found else 0, reason)
        raise AgreedError(f"{reason}. {config.run_dir} must be one folder that all machines share")
    return content


def _chosen(folder: Path, found: dict[str, Any] | None) -> tuple[int, str]:
    """Step and hash of the first process's checkpoint; -1 for a new run."""
    return (found["step"], checkpoint.digest_of(folder / checkpoint.name_of(found["step"]))) if found else (-1, "")


def _same_checkpoint(folder: Path, chosen: tuple[int, str]) -> tuple[dict[str, Any] | None, str]:
    """Load what the first process chose; return it and what is wrong with it on this process."""
    (step, digest), rank = chosen, os.environ.get("RANK", "?")
    if step < 0:
        there = [f.name for f in folder.glob("step-*")]
        return None, f"{rank} has {max(there)} in its {folder}, the first one has nothing" if there else ""
    place = folder / checkpoint.name_of(step)
    if checkpoint.digest_of(place) != digest:
        there = "another checkpoint of that step" if place.is_dir() else "no such checkpoint"
        return None, f"{rank} has {there} as {place}"
    try:
        return checkpoint.load(place), ""
    except ValueError as error:
        return None, f"{rank}: {error}"


def is_finished(config: TrainConfig) -> bool:
    """Return whether the directory holds this very run, trained and evaluated to its end."""
    before = read_run_config(config.run_dir)
    if before is None or RunDir.state_of(config.run_dir) != "done":
        return False
    by_epochs = {f"{name}.steps" for name in PHASES if getattr(config, name).epochs is not None}
    return {c.name for c in find_changes(to_dict(before), to_dict(config))} <= by_epochs
