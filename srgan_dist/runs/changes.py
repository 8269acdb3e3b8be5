"""Which settings may change when a run is resumed, and which are refused, with what to do instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from srgan_dist.utils.serialization import flatten
from srgan_dist.utils.terminal import ListedError

PHASES = ("pretrain", "adversarial")
FREE = frozenset(
    {
        "run_dir", "mixed_precision", "compile", "deterministic", "profile", "threads", "max_skips", "time_limit",
        "log_every", "expect_world_size", "data.shards", "data.cache", "data.threads", "validation.every",
        "validation.images", "validation.side", "validation.metrics", "validation.patience", "validation.best_by",
        "validation.adversarial_patience", "validation.adversarial_best_by", "checkpoint.every", "checkpoint.keep",
        "tracking.enabled", "tracking.experiment", "tracking.register", "tracking.buffer", "loss.content.weights",
        "generator.recompute", "data.decoded_mb", "compare_with",
    }
)  # fmt: skip
"""Fields that do not affect the trained weights."""
CHANGED_DEFAULTS: dict[str, tuple[Any, Any]] = {"degradation.margin": (0, 144), "data.decoded_cache": (64, 0)}
"""Fields whose default has changed, with the value that runs had before and the present default."""
_FREE_IN_TRAINING = frozenset({"clip_norm", "discriminator_rate"})
"""Fields that affect the weights but may change when a run is resumed, apart from those of schedules."""
_BATCH = frozenset({"data.batch", "accumulate"})


class Progress(NamedTuple):
    """How far a run that is about to be resumed has come."""

    phase: int
    """Index of the phase."""
    steps: int
    """Steps done in that phase."""
    crops_per_step: int
    """Crops per step over all processes."""
    processes: int
    """Number of processes that resume it."""


class Change(NamedTuple):
    """A setting whose value differs from the one that the run was started with."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.before} in the run, {self.now} now"


def find_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return the settings that differ between two configurations, except those that do not affect the weights."""
    old, new = flatten(before), flatten(now)
    names = sorted((old.keys() | new.keys()) - FREE)
    return [Change(n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]


def older_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with which a run was begun, of fields that now have their present default only."""
    old, new = flatten(before), flatten(now)
    return {n: then for n, (then, at) in CHANGED_DEFAULTS.items() if old.get(n) == then and new.get(n) == at}


def with_older_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a `config.json` with the older value of each field of `CHANGED_DEFAULTS` that it lacks."""
    content = dict(config)
    for name, (then, _) in CHANGED_DEFAULTS.items():
        section, _, field = name.partition(".")
        if isinstance(content.get(section), dict):
            content[section] = {field: then} | content[section]
    return content


def refuse_changes(changes: list[Change], now: Mapping[str, Any], progress: Progress, run: Path) -> None:
    """Raise ValueError, with what to do instead, for changes that prevent resuming the run.

    Learning rates, the clipping norm and the steps of an unfinished phase may change, and so may batch size and
    accumulation as long as the number of crops per step stays the same.
    """
    reasons = {change: _refusal(change, flatten(now), progress) for change in changes}
    refused = {change: reason for change, reason in reasons.items() if reason is not None}
    if refused:
        raise ListedError(
            f"{run} contains a run with a different configuration:",
            *(f"  {change}{reason}" for change, reason in refused.items()),
            f"Repeat its command to resume it (srgan repro {run} prints it), or start a new run from its weights by "
            f"adding --weights {run} --run-dir {_free_run_dir(run)}",
        )


def _refusal(change: Change, now: Mapping[str, Any], progress: Progress) -> str | None:
    """Return why a change is refused, which may be an empty string; None if the change is allowed."""
    section, _, field = change.name.partition(".")
    if change.name in _FREE_IN_TRAINING or (section in PHASES and field.startswith("schedule")) or field == "epochs":
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
    remedy = f"; --data.batch {each // now['accumulate']} keeps them" if each % now["accumulate"] == 0 else ""
    return f" (a step would have {crops} crops instead of {progress.crops_per_step}{remedy})"


def _steps_refusal(phase: int, steps: int, progress: Progress) -> str | None:
    if phase > progress.phase or (phase == progress.phase and steps >= progress.steps):
        return None
    return " (this phase is finished)" if phase < progress.phase else f" ({progress.steps} steps are already done)"


def _free_run_dir(run: Path) -> Path:
    return next(p for n in range(2, 10_000) if not (p := run.with_name(f"{run.name}-{n}")).exists())
