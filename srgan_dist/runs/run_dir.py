"""The directory of a training run: configuration, status for users and schedulers, and metrics.

See decision 6 in docs/explanation/architecture.md.
"""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from srgan_dist.runs.changes import Change, Progress, find_changes, refuse_changes
from srgan_dist.utils.addresses import redacted
from srgan_dist.utils.files import write_json, write_text
from srgan_dist.utils.jsonl import Journal
from srgan_dist.utils.renamed import current_name
from srgan_dist.utils.untrusted import is_file_name

Status = Literal["running", "preempted", "done", "failed"]

log = logging.getLogger("srgan_dist")

_REASON_LENGTH = 1000
"""Longest recorded reason of a failure, in characters: the status must fit one block of a full disk."""
CONFIG = "config.json"
"""Name of the file with the run's configuration."""


class RunDir:
    """The directory `runs/<name>/` of one training run.

    Args:
        config: the run's configuration as plain JSON values.
        before: configuration of the run that the directory already contains, missing fields filled with defaults.
        writes: whether this process may write to the directory; only rank 0 does.
        progress: how far that run has come; None if it saved nothing yet, which allows any new configuration.

    Raises:
        ValueError: if the directory contains a run that cannot be resumed with this configuration.
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
        """Settings that differ from the ones that the run was started with."""
        self.starts_over: bool = bool(changes) and progress is None
        """Whether this is a new run, because the previous one saved nothing and had a different configuration."""
        if progress:
            refuse_changes(changes, config, progress, path)
        if writes:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(dict(config), self.path / CONFIG, indent=2)

    DISCRIMINATOR = "-discriminator.safetensors"
    """End of the file name of an exported discriminator."""

    def discriminator(self, label: str) -> Path:
        """Return the path of a phase's exported discriminator."""
        return self.models / self.model_name(label).replace(".safetensors", self.DISCRIMINATOR)

    def model(self, label: str) -> Path:
        """Return the path of a phase's exported generator."""
        return self.models / self.model_name(label)

    @staticmethod
    def model_name(label: str) -> str:
        """Return the file name of a phase's exported generator.

        Raises:
            ValueError: if the label cannot be part of a file name.
        """
        name = f"{label.lower().replace(' ', '-')}.safetensors"
        if not is_file_name(name):
            raise ValueError(f"label={label[:80]!r} cannot be part of a file name")
        return name

    @staticmethod
    def models_of(path: Path) -> Path:
        """Return the folder of a run's exported generators."""
        return path / "models"

    @staticmethod
    def state_of(path: Path) -> str:
        """Return the state in a run's `status.json`; an empty string if there is none."""
        try:
            return json.loads((path / "status.json").read_text("utf-8"))["state"]
        except (OSError, ValueError, KeyError):
            return ""

    def status(self, state: Status, step: int, reason: str = "", **progress: str | float | None) -> None:
        """Write `status.json`, which schedulers and users read because launchers mask exit codes.

        Args:
            state: What the run does, or how it ended.
            step: Steps that are done.
            reason: Why it stopped or failed.
            progress: Further facts about a running one: `phase`, and `seconds_left` to its end.
        """
        if self._writes:
            content = {"state": state, "step": step, "reason": reason, "time": time.time()} | progress
            write_json(content, self.path / "status.json")

    def fail(self, step: int, reason: str) -> None:
        """Record that the run failed, from any process. The first reason stays: later ones usually follow from it."""
        fail_run(self.path, step, reason)

    def truncate_metrics(self, step: int) -> None:
        """Delete lines after `step`, which a resumed run writes again, and rename metrics of older versions.

        Renaming lets the curves of a run that an older version started continue under one name, in MLflow as well.
        """
        file = self.path / "metrics.jsonl"
        if self._writes and file.exists():
            before = file.read_text("utf-8")
            kept = "".join(f"{_with_current_names(line)}\n" for line in before.splitlines() if _step_of(line) <= step)
            if kept != before:
                write_text(kept, file)

    def append_metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Append one line to `metrics.jsonl`; if the disk is full, it is kept in memory and written later.

        `tracking.sender.Sender` reads the file as it grows and sends its lines to MLflow.
        """
        if self._writes:
            self._metrics.append({"step": step, "time": round(time.time(), 3)} | metrics)


def fail_run(run: Path, step: int, reason: str) -> None:
    """Record in a run directory that its run failed, unless an earlier failure is recorded already."""
    if run.is_dir() and RunDir.state_of(run) != "failed":
        content = {"state": "failed", "step": step, "reason": redacted(reason)[:_REASON_LENGTH], "time": time.time()}
        try:
            write_json(content, run / "status.json")
        except OSError as error:
            _overwrite_status(content, run / "status.json", error)


def _overwrite_status(content: dict[str, Any], file: Path, error: OSError) -> None:
    """Replace the text within the file where the disk is full: the block that it occupies can still be written."""
    try:
        with file.open("r+b", buffering=0) as status:
            status.write(json.dumps(content).encode())
            status.truncate()
    except OSError:
        log.warning("%s cannot be written (%s), so that it does not say that the run failed", file, error.strerror)


def _with_current_names(line: str) -> str:
    numbers = json.loads(line)
    renamed = {current_name(name): value for name, value in numbers.items()}
    return json.dumps(renamed) if renamed != numbers else line


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")  # a write was interrupted
