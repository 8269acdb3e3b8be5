"""Which model a run directory opens as: by phase order and status, never by file times."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from srgan_dist.runs import checkpoint
from srgan_dist.runs.changes import PHASES
from srgan_dist.runs.run_dir import CONFIG, RunDir


class RunModel(NamedTuple):
    """One of a run's models: an exported file, or a checkpoint."""

    path: Path
    """A safetensors file, or a checkpoint directory."""
    about: str
    """Which step of which phase."""


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run directory."""
    return (folder / CONFIG).is_file() or (folder / "checkpoints").is_dir() or (folder / "models").is_dir()


def open_run(run: Path, at: str | None = None) -> RunModel:
    """Choose a run's model: the last phase's once the run is done, the last checkpoint before.

    Args:
        at: "last", "best" or a step: that checkpoint instead.

    Raises:
        ValueError: there is no such model, with those that there are.
    """
    if at is not None:
        return _checkpoint(run, at)
    models, state = _models(run), RunDir.state_of(run)
    if models and models[-1].is_last and (state in ("done", "") or not _steps(run)):
        return RunModel(models[-1].file, f"the finished {models[-1].label}")
    if _steps(run):
        return _checkpoint(run, "last")
    if models:
        return RunModel(models[-1].file, f"the finished {models[-1].label}; no checkpoint of what follows")
    raise ValueError(f"{run}: not a run directory or checkpoint, or nothing was saved in it yet")


class _PhaseModel(NamedTuple):
    file: Path
    label: str
    is_last: bool
    """Whether no phase comes after it."""


def _models(run: Path) -> list[_PhaseModel]:
    """The exported models that are there, in the order of their phases."""
    directory, labels = RunDir.models_of(run), [p["label"] for p in _phases(run) if p["steps"]]
    if labels:
        found = [_PhaseModel(directory / RunDir.model_name(n), n, n == labels[-1]) for n in labels]
        return [m for m in found if m.file.is_file()]
    files = sorted(directory.glob("*.safetensors"))  # somebody put them there without the run's configuration
    if len(files) > 1:
        names = ", ".join(f.name for f in files)
        raise ValueError(f"{run} does not say which of its models is the final one; name the file: {names}")
    return [_PhaseModel(f, f.stem, True) for f in files]


def _phases(run: Path) -> list[dict[str, Any]]:
    """The phases as the run's configuration has them; none where it does not name any."""
    try:
        config = json.loads((run / CONFIG).read_text())
        return [config[name] for name in PHASES]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _steps(run: Path) -> list[int]:
    return sorted(int(f.name.split("-")[1]) for f in (run / "checkpoints").glob("step-*"))


def _checkpoint(run: Path, at: str) -> RunModel:
    folder, steps = run / "checkpoints", _steps(run)
    named = [n for n in (checkpoint.LAST, checkpoint.BEST) if checkpoint.resolve(folder / n).is_dir()]
    there = f"it has {', '.join([*map(str, steps), *named]) or 'none'}"
    if at == checkpoint.BEST:
        best = checkpoint.resolve(folder / at)
        if not best.is_dir():
            raise ValueError(f"{run} has no best checkpoint in its present phase; checkpoints: {there}")
        return RunModel(best, _about(run, best))
    if at == checkpoint.LAST:
        return _last_valid(run, [folder / checkpoint.name_of(s) for s in reversed(steps)])
    if not at.isdigit() or int(at) not in steps:
        raise ValueError(f"--at {at}: {run} has no such checkpoint; {there}")
    chosen = folder / checkpoint.name_of(int(at))
    return RunModel(chosen, _about(run, chosen))


def _last_valid(run: Path, newest_first: list[Path]) -> RunModel:
    for place in newest_first:
        if checkpoint.is_intact(place):
            return RunModel(place, _about(run, place))
    raise ValueError(f"{run} has no checkpoint that can be read")


def _about(run: Path, place: Path) -> str:
    """Step and phase, as the checkpoint itself says where it does."""
    phase, phases = checkpoint.notes_of(place).get("phase"), _phases(run)
    label = phases[phase]["label"] if isinstance(phase, int) and 0 <= phase < len(phases) else ""
    return f"step {int(place.name.split('-')[1])}{f' of {label}' if label else ''}"
