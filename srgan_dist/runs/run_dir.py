"""A run is a directory: its configuration, its state for people and schedulers, its metrics.

See decision 6 in docs/explanation/architecture.md.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from srgan_dist.runs.changes import Change, Progress, find_changes, refuse_changes
from srgan_dist.utils.files import write_json, write_text
from srgan_dist.utils.jsonl import Journal
from srgan_dist.utils.renamed import current_name

Status = Literal["running", "preempted", "done", "failed"]

log = logging.getLogger("srgan_dist")

CONFIG = "config.json"
"""The run's configuration, in its directory."""


class RunDir:
    """`runs/<name>/` of one training run; only the first process writes.

    Args:
        config: the run's configuration as plain JSON values.
        before: that of the run which the directory holds already, with every field that it lacks filled in.
        progress: how far that run has come; None if nothing was saved yet, so that any configuration may follow.

    Raises:
        ValueError: the directory holds a run that cannot go on with this configuration.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        before: Mapping[str, Any] | None,
        writes: bool,
        progress: Progress | None = None,
    ) -> None:
        self.path, self._writes = path, writes
        self.checkpoints, self.models = self.path / "checkpoints", self.models_of(self.path)
        self._metrics = Journal(self.path / "metrics.jsonl")
        changes = find_changes(before, config) if before is not None else []
        self.changes: list[Change] = changes if progress else []
        """With what the run goes on differently from here on."""
        self.anew: bool = bool(changes) and progress is None
        """Whether it begins again under another configuration than the one that failed before anything was saved."""
        if progress:
            refuse_changes(changes, config, progress, path)
        if writes:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(dict(config), self.path / CONFIG, indent=2)

    def model(self, label: str) -> Path:
        """Where a phase's exported generator stands."""
        return self.models / self.model_name(label)

    @staticmethod
    def model_name(label: str) -> str:
        """Return the name of a phase's exported file."""
        return f"{label.lower().replace(' ', '-')}.safetensors"

    @staticmethod
    def models_of(path: Path) -> Path:
        """Return where a run keeps its exported generators."""
        return path / "models"

    @staticmethod
    def state_of(path: Path) -> str:
        """What a run's `status.json` says; nothing where there is none."""
        try:
            return json.loads((path / "status.json").read_text())["state"]
        except (OSError, ValueError, KeyError):
            return ""

    def status(self, state: Status, step: int, reason: str = "") -> None:
        """Writes `status.json`, which schedulers and people read: launchers mask exit codes."""
        if self._writes:
            write_json({"state": state, "step": step, "reason": reason, "time": time.time()}, self.path / "status.json")

    def fail(self, step: int, reason: str) -> None:
        """Writes that the run failed, from any process; the first reason stays, later ones only follow from it."""
        fail_run(self.path, step, reason)

    def truncate_metrics(self, step: int) -> None:
        """Drop lines after `step`, which a resumed run writes again, and put present names in the place of older ones.

        So the curves of a run that an earlier version began go on under one name, in MLflow too.
        """
        file = self.path / "metrics.jsonl"
        if self._writes and file.exists():
            before = file.read_text()
            kept = "".join(f"{_with_current_names(line)}\n" for line in before.splitlines() if _step_of(line) <= step)
            if kept != before:
                write_text(kept, file)

    def append_metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one line to `metrics.jsonl`, the record of the run; later, if the disk is full.

        `tracking.sender.Sender` follows the file and sends its lines to MLflow.
        """
        if self._writes:
            self._metrics.append({"step": step, "time": round(time.time(), 3)} | metrics)


def fail_run(run: Path, step: int, reason: str) -> None:
    """Write into a run directory that its run failed, unless another reason stands there already."""
    if run.is_dir() and RunDir.state_of(run) != "failed":
        write_json({"state": "failed", "step": step, "reason": reason, "time": time.time()}, run / "status.json")


def _with_current_names(line: str) -> str:
    numbers = json.loads(line)
    renamed = {current_name(name): value for name, value in numbers.items()}
    return json.dumps(renamed) if renamed != numbers else line


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")  # cut off in the middle of a write


def shown(numbers: Iterable[tuple[str, Any]]) -> str:
    """`name value` pairs on one line, for logs and bars."""
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers)
