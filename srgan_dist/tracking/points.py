"""Reads the metrics that MLflow has not received yet from JSON lines, each step of each metric once."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

Steps = dict[str, int]
"""The last step of each metric or image, by name."""

BATCH = 1000
"""Points that MLflow accepts per request."""


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    time: int
    """Milliseconds since the Unix epoch."""
    step: int


class PointFile:
    """A growing file of JSON lines, each with `step`, `time` in seconds, and metrics by name."""

    def __init__(self, file: Path) -> None:
        self.file, self.offset = file, 0
        """All lines before this offset (bytes) were sent."""

    def read(self, sent: Steps) -> tuple[list[Point], int]:
        """Return the next unsent points, at most one batch of them, and the offset behind them.

        Steps up to the last one that was sent of a metric are left out: a resumed run repeats the steps since its
        checkpoint with bit-identical results, which MLflow already has. An incomplete last line is left for later.
        """
        last, found, offset = dict(sent), list[Point](), self.offset
        if not self.file.is_file():
            return found, offset
        with self.file.open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                unsent = [p for p in points(line) if p.step > last.get(p.name, -1)]
                if not line.endswith(b"\n") or (found and len(found) + len(unsent) > BATCH):
                    break
                found += unsent
                last |= last_steps(unsent)
                offset += len(line)
        return found, offset


def points(line: bytes | str) -> list[Point]:
    """Return the points of a line; an empty list if it is not valid JSON or lacks `step` or `time`."""
    try:
        content: dict[str, Any] = json.loads(line)
        step, time = int(content.pop("step")), int(content.pop("time") * 1000)
        return [Point(sanitized(name), float(value), time, step) for name, value in content.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def last_steps(sent: list[Point]) -> Steps:
    """Return the last step of each metric among the points."""
    return {p.name: p.step for p in sent}


def sanitized(name: str) -> str:
    """Return the name with every character replaced that MLflow does not accept in names of metrics and images."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)
