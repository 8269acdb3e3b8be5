"""What may change when a run is resumed, what is written down then, and what is refused with the way out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from srgan_dist.utils.serialization import flatten

PHASES = ("pretrain", "adversarial")
FREE = frozenset(
    {
        "run_dir", "mixed_precision", "compile", "deterministic", "profile", "threads", "max_skips", "time_limit",
        "log_every", "expect_world_size", "data.shards", "data.cache", "data.threads", "validation.every",
        "validation.images", "validation.side", "validation.patience", "validation.best_by",
        "validation.adversarial_patience", "validation.adversarial_best_by", "checkpoint.every", "checkpoint.keep",
        "tracking.enabled", "tracking.experiment", "tracking.register", "tracking.buffer", "loss.content.weights",
        "generator.recompute",
    }
)  # fmt: skip
"""Fields that do not change what is trained."""
_BATCH = frozenset({"data.batch", "accumulate"})


class Progress(NamedTuple):
    """How far a run has come that is about to be resumed."""

    phase: int
    steps: int
    """Of the phase."""
    crops_per_step: int
    processes: int
    """That it is resumed with."""


class Change(NamedTuple):
    """A setting that a run is resumed with another value of."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.before} in the run, {self.now} now"


def find_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return the settings that differ between two configurations, apart from those that change nothing trained."""
    old, new = flatten(before), flatten(now)
    names = sorted((old.keys() | new.keys()) - FREE)
    return [Change(n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]


def refuse_changes(changes: list[Change], now: Mapping[str, Any], progress: Progress, run: Path) -> None:
    """Raise ValueError, with the way out, for changes with which the run cannot go on.

    Learning rates, the clipping norm and the steps of a phase that is not over may change; so may batch and
    accumulation as long as a step is made of as many crops.
    """
    reasons = {change: _refusal(change, flatten(now), progress) for change in changes}
    refused = {change: reason for change, reason in reasons.items() if reason is not None}
    if refused:
        rows = "\n".join(f"  {change}{reason}" for change, reason in refused.items())
        raise ValueError(
            f"{run} holds a run with another configuration:\n{rows}\n"
            f"Repeat its command to resume it (srgan repro {run} shows it), or start a new run from its weights: add "
            f"--weights {run} --run-dir {_free(run)}"
        )


def _refusal(change: Change, now: Mapping[str, Any], progress: Progress) -> str | None:
    """Why a change is refused, or nothing to add; None where it is not."""
    section, _, field = change.name.partition(".")
    if change.name == "clip_norm" or (section in PHASES and field.startswith("schedule")) or field == "epochs":
        return None
    if change.name in _BATCH:
        return _batch_refusal(now, progress)
    if section in PHASES and field == "steps":
        return _steps_refusal(PHASES.index(section), change.now, progress)
    return ""


def _batch_refusal(now: Mapping[str, Any], progress: Progress) -> str | None:
    crops = now["data.batch"] * now["accumulate"] * progress.processes
    if crops == progress.crops_per_step:
        return None
    each = progress.crops_per_step // progress.processes
    kept = f"; --data.batch {each // now['accumulate']} keeps them" if each % now["accumulate"] == 0 else ""
    return f" (a step would have {crops} crops instead of {progress.crops_per_step}{kept})"


def _steps_refusal(phase: int, steps: int, progress: Progress) -> str | None:
    if phase > progress.phase or (phase == progress.phase and steps >= progress.steps):
        return None
    return " (this phase is over)" if phase < progress.phase else f" ({progress.steps} of them are done)"


def _free(run: Path) -> Path:
    return next(p for n in range(2, 10_000) if not (p := run.with_name(f"{run.name}-{n}")).exists())
