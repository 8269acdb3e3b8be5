"""Numbers that MLflow has not got yet, read from the run's JSON lines, each step of each number once."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

Steps = dict[str, int]
"""The last step of every number."""

BATCH = 1000
"""Points that MLflow takes at once."""


class Point(NamedTuple):
    """One value of one number."""

    name: str
    value: float
    time: int
    """Milliseconds since 1970."""
    step: int


class PointFile:
    """A file of JSON lines, each with `step`, `time` (seconds) and numbers by name, to which others append."""

    def __init__(self, file: Path) -> None:
        self.file, self.place = file, 0
        """Lines before `place` (bytes) are dealt with."""

    def read(self, sent: Steps) -> tuple[list[Point], int]:
        """The next points that were not sent, a batch at most, and the place behind them.

        Left out are steps up to the last one that was sent under the same name: a resumed run computes the steps since
        its checkpoint again, to the same bits, and MLflow has them. Half a line waits until it is whole.
        """
        last, found, place = dict(sent), list[Point](), self.place
        if not self.file.is_file():
            return found, place
        with self.file.open("rb") as lines:
            lines.seek(place)
            for line in lines:
                fresh = [p for p in points(line) if p.step > last.get(p.name, -1)]
                if not line.endswith(b"\n") or (found and len(found) + len(fresh) > BATCH):
                    break
                found += fresh
                last |= last_steps(fresh)
                place += len(line)
        return found, place


def points(line: bytes | str) -> list[Point]:
    """The points of a line; none if it is no JSON or lacks step or time."""
    try:
        content: dict[str, Any] = json.loads(line)
        step, time = int(content.pop("step")), int(content.pop("time") * 1000)
        return [Point(allowed(name), float(value), time, step) for name, value in content.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def last_steps(sent: list[Point]) -> Steps:
    """The last step of every number among them."""
    return {p.name: p.step for p in sent}


def allowed(name: str) -> str:
    """A name that MLflow takes for a number or an image."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)
