"""Selects the model that a run directory opens as, by phase order and status, never by file times."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from srgan_dist.runs import checkpoint
from srgan_dist.runs.changes import PHASES
from srgan_dist.runs.run_dir import CONFIG, RunDir


class RunModel(NamedTuple):
    """A model of a run: an exported file or a checkpoint."""

    path: Path
    """A safetensors file, or a checkpoint directory."""
    about: str
    """Step and phase, for messages."""


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run directory."""
    return (folder / CONFIG).is_file() or (folder / "checkpoints").is_dir() or (folder / "models").is_dir()


def open_run(run: Path, at: str | None = None) -> RunModel:
    """Return a run's model: that of the last phase once the run is done, otherwise the last checkpoint.

    Args:
        at: "last", "best" or a step, to select a checkpoint instead.

    Raises:
        ValueError: if there is no such model; the message lists the existing ones.
    """
    if at is not None:
        return _checkpoint(run, at)
    models, state = _models(run), RunDir.state_of(run)
    if models and models[-1].is_last and (state in ("done", "") or not _steps(run)):
        return RunModel(models[-1].file, f"the finished {models[-1].label}")
    if _steps(run):
        return _checkpoint(run, "last")
    if models:
        return RunModel(models[-1].file, f"the finished {models[-1].label}; no checkpoint of the next phase")
    raise ValueError(f"{run} is not a run directory or checkpoint, or nothing has been saved in it yet")


class _PhaseModel(NamedTuple):
    file: Path
    label: str
    is_last: bool
    """Whether this is the run's last phase."""


def _models(run: Path) -> list[_PhaseModel]:
    """Return the exported models that exist, in the order of their phases."""
    directory, labels = RunDir.models_of(run), [p["label"] for p in _phases(run) if p["steps"]]
    if labels:
        found = [_PhaseModel(directory / RunDir.model_name(n), n, n == labels[-1]) for n in labels]
        return [m for m in found if m.file.is_file()]
    # Exported models without the run's configuration.
    files = sorted(f for f in directory.glob("*.safetensors") if not f.name.endswith(RunDir.DISCRIMINATOR))
    if len(files) > 1:
        names = ", ".join(f.name for f in files)
        raise ValueError(f"{run} does not record which of its models is the final one; pass one of the files: {names}")
    return [_PhaseModel(f, f.stem, True) for f in files]


def _phases(run: Path) -> list[dict[str, Any]]:
    """Return the phases in the run's configuration; an empty list if there is none."""
    try:
        config = json.loads((run / CONFIG).read_text("utf-8"))
        phases = [config[name] for name in PHASES]
        valid = all(isinstance(p["steps"], int) and isinstance(p["label"], str) for p in phases)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return phases if valid else []


def _steps(run: Path) -> list[int]:
    names = [f.name.removeprefix("step-") for f in (run / "checkpoints").glob("step-*")]
    return sorted(int(name) for name in names if name.isdecimal())


def _checkpoint(run: Path, at: str) -> RunModel:
    folder, steps = run / "checkpoints", _steps(run)
    references = [n for n in (checkpoint.LAST, checkpoint.BEST) if checkpoint.resolve(folder / n).is_dir()]
    available = f"it has {', '.join([*map(str, steps), *references]) or 'none'}"
    if at == checkpoint.BEST:
        best = checkpoint.resolve(folder / at)
        if not best.is_dir():
            raise ValueError(f"--at best: {run} has no best checkpoint in its current phase; {available}")
        return RunModel(best, _about(run, best))
    if at == checkpoint.LAST:
        return _last_valid(run, [folder / checkpoint.name_of(s) for s in reversed(steps)])
    if not at.isdigit() or int(at) not in steps:
        raise ValueError(f"--at {at}: {run} has no such checkpoint; {available}")
    chosen = folder / checkpoint.name_of(int(at))
    return RunModel(chosen, _about(run, chosen))


def _last_valid(run: Path, newest_first: list[Path]) -> RunModel:
    for folder in newest_first:
        if checkpoint.is_intact(folder):
            return RunModel(folder, _about(run, folder))
    raise ValueError(f"{run} has no valid checkpoint")


def _about(run: Path, folder: Path) -> str:
    """Return step and phase of a checkpoint; without the phase if the checkpoint does not record it."""
    phase, phases = checkpoint.notes_of(folder).get("phase"), _phases(run)
    label = phases[phase]["label"] if isinstance(phase, int) and 0 <= phase < len(phases) else ""
    return f"step {int(folder.name.split('-')[1])}{f' of {label}' if label else ''}"
