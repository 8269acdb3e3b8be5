"""A run is a directory: its configuration, its state for people and schedulers, its metrics.

See decision 6 in docs/explanation/architecture.md.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from srgan_dist.utils.files import write_json, write_text
from srgan_dist.utils.jsonl import Journal
from srgan_dist.utils.serialization import flatten

Status = Literal["running", "preempted", "done", "failed"]

log = logging.getLogger("srgan_dist")

CONFIG = "config.json"
"""The run's configuration, in its directory."""

CHANGEABLE = frozenset(
    {
        "run_dir",
        "mixed_precision",
        "compile",
        "deterministic",
        "profile",
        "threads",
        "max_skips",
        "time_limit",
        "log_every",
        "expect_world_size",
        "data.shards",
        "data.cache",
        "data.threads",
        "validation.every",
        "validation.images",
        "validation.side",
        "validation.patience",
        "checkpoint.every",
        "checkpoint.keep",
        "tracking.enabled",
        "tracking.experiment",
        "tracking.register",
        "tracking.buffer",
        "loss.content.weights",
        "generator.recompute",
    }
)
"""Fields that may differ when a run is resumed: they do not change what is trained."""


class RunDir:
    """`runs/<name>/` of one training run; only the first process writes.

    Args:
        config: the run's configuration as plain JSON values.
        before: that of the run which the directory holds already, with every field that it lacks filled in.

    Raises:
        ValueError: the directory holds a run with another configuration.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], before: Mapping[str, Any] | None, writes: bool) -> None:
        self.path, self._writes = path, writes
        self.checkpoints, self.models = self.path / "checkpoints", self.path / "models"
        self._metrics = Journal(self.path / "metrics.jsonl")
        if before is not None:
            _refuse_changes(before, config, self.path)
        if writes:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(dict(config), self.path / CONFIG, indent=2)

    def model(self, label: str) -> Path:
        """Where a phase's exported generator stands."""
        return self.models / f"{label.lower().replace(' ', '-')}.safetensors"

    def status(self, state: Status, step: int, reason: str = "") -> None:
        """Writes `status.json`, which schedulers and people read: launchers mask exit codes."""
        if self._writes:
            write_json({"state": state, "step": step, "reason": reason, "time": time.time()}, self.path / "status.json")

    def fail(self, step: int, reason: str) -> None:
        """Writes that the run failed, from any process; the first reason stays, later ones only follow from it."""
        file = self.path / "status.json"
        if self.path.is_dir() and not (file.exists() and json.loads(file.read_text())["state"] == "failed"):
            content = {"state": "failed", "step": step, "reason": reason, "time": time.time()}
            write_json(content, file)

    def truncate_metrics(self, step: int) -> None:
        """Drops lines after `step`: a resumed run writes them again."""
        file = self.path / "metrics.jsonl"
        if self._writes and file.exists():
            before = file.read_text()
            kept = "".join(f"{line}\n" for line in before.splitlines() if _step_of(line) <= step)
            if kept != before:
                write_text(kept, file)

    def append_metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one line to `metrics.jsonl`, the record of the run; later, if the disk is full.

        `tracking.sender.Sender` follows the file and sends its lines to MLflow.
        """
        if self._writes:
            self._metrics.append({"step": step, "time": round(time.time(), 3)} | metrics)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")  # cut off in the middle of a write


def _refuse_changes(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    before, now = flatten(old), flatten(new)
    changed = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k) and k not in CHANGEABLE]
    if changed:
        rows = "\n".join(f"  {k}: {before.get(k)} in the run, {now.get(k)} now" for k in changed)
        raise ValueError(
            f"{path} holds a run with another configuration:\n{rows}\n"
            "Repeat its command to resume it, or choose another --run-dir for a new run."
        )


def shown(numbers: Iterable[tuple[str, Any]]) -> str:
    """`name value` pairs on one line, for logs and bars."""
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers)
