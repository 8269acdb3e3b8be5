"""How far a run has come, read from its directory without loading torch and without writing anything."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srgan_dist.runs.changes import PHASES
from srgan_dist.runs.lock import is_held
from srgan_dist.runs.run_dir import CONFIG
from srgan_dist.utils.renamed import current_name
from srgan_dist.utils.untrusted import parse_json

State = Literal["running", "stopped", "failed", "done"]
_LONGEST = 16 << 20
"""Largest file that is read completely, in bytes."""
_TAIL = 1 << 18
"""Bytes at the end of `metrics.jsonl` that are searched for the latest numbers."""
_KILLED = "its process was killed; run the same command again to resume"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run at this moment."""

    run: str
    """Path of the directory."""
    state: State
    """What it does; `stopped` means that the same command resumes it."""
    reason: str
    """Why it stopped or failed."""
    phase: str
    """Name of the current phase; empty before the first one."""
    phase_number: int
    """1 or 2; 0 before the first phase."""
    step: int
    """Steps that are done, over all phases."""
    total: int
    """Steps of all phases."""
    seconds_left: float | None
    """Estimated seconds until it is complete, the final evaluation included; None if it is not running or unknown."""
    metrics: dict[str, float]
    """The latest value of each metric."""
    warnings: list[str]
    """Warnings that were active in the last logging window, or in the last validation."""
    bytes: int
    """Disk space of all files in the directory."""


def summarize(run: Path) -> RunSummary:
    """Read how far a run has come.

    Raises:
        ValueError: it is not a run directory, or its configuration cannot be read.
    """
    if not (run / CONFIG).is_file():
        raise ValueError(f"{run} is not a run directory (no {CONFIG})")
    try:
        phases = _phases(parse_json((run / CONFIG).read_bytes(), _LONGEST))
    except (OSError, ValueError) as error:
        raise ValueError(f"{run / CONFIG}: cannot be read ({error})") from None
    status, rows = _status(run), _latest_rows(run)
    metrics = {name: float(value) for row in rows for name, value in row.items() if _is_number(value)}
    state, reason = _state(run, status)
    step = int(max(_number(status, "step"), metrics.pop("step", 0.0)))
    number = int(metrics.pop("phase", 0.0))
    number = number if 0 < number <= len(phases) else 0
    left = _number(status, "seconds_left") if state == "running" and _is_number(status.get("seconds_left")) else None
    return RunSummary(
        run=str(run), state=state, reason=reason, phase=phases[number - 1][0] if number else "", phase_number=number,
        step=step, total=_total(phases, step, state),
        seconds_left=max(0.0, left - (time.time() - _number(status, "time"))) if left is not None else None,
        metrics={name: value for name, value in metrics.items() if "/" in name and not name.startswith("health/")},
        warnings=_warnings(rows), bytes=_bytes(run),
    )  # fmt: skip


def _phases(config: dict[str, Any]) -> list[tuple[str, int]]:
    """Return label and steps of both phases."""
    sections = [section if isinstance(section := config.get(name), dict) else {} for name in PHASES]
    return [(str(s.get("label", n)), int(_number(s, "steps"))) for n, s in zip(PHASES, sections, strict=True)]


def _status(run: Path) -> dict[str, Any]:
    try:
        return parse_json((run / "status.json").read_bytes(), _LONGEST)
    except (OSError, ValueError):
        return {}


def _state(run: Path, status: dict[str, Any]) -> tuple[State, str]:
    """Return state and reason. The lock decides whether it runs: a killed process leaves the status `running`."""
    written, reason = status.get("state"), str(status.get("reason", ""))
    if is_held(run):
        return "running", ""
    if written == "done" or (not written and (run / "evaluation.json").is_file()):
        return "done", ""
    if written == "failed":
        return "failed", reason
    return "stopped", reason if written == "preempted" else _KILLED if written else ""


def _latest_rows(run: Path) -> list[dict[str, Any]]:
    """Return the last lines of `metrics.jsonl` with today's names."""
    try:
        with (run / "metrics.jsonl").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return []
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut off at the start of the tail, or still being written
        if isinstance(row, dict):
            rows.append({current_name(str(name)): value for name, value in row.items()})
    return rows


def _total(phases: list[tuple[str, int]], step: int, state: State) -> int:
    """Return the steps of all phases. If a phase ended early, a finished run has fewer than planned."""
    planned = sum(steps for _, steps in phases)
    return step if state == "done" else max(planned, step)


def _warnings(rows: list[dict[str, Any]]) -> list[str]:
    windows, validations = ([r for r in rows if ("phase" in r) == of_window] for of_window in (True, False))
    latest = {name for found in (windows, validations) for name in (found[-1] if found else {})}
    names = sorted(name.removeprefix("health/") for name in latest if name.startswith("health/"))
    return [name.removeprefix("valid_").replace("_", " ") for name in names]


def _bytes(run: Path) -> int:
    total = 0
    for file in run.rglob("*"):
        try:
            total += file.lstat().st_size if not file.is_dir() else 0
        except OSError:  # deleted in the meantime
            continue
    return total


def _number(content: dict[str, Any], name: str) -> float:
    value: Any = content.get(name, 0.0)
    return float(value) if _is_number(value) else 0.0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300  # also finite
