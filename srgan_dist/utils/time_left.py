"""Estimates the time until a run is complete: both phases, validations, checkpoints and the final evaluation."""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

_SHORTEST, _LONGEST = 5.0, 15.0
"""Seconds after which the pace of a stretch is recorded: at the end of a logging window, or at any step."""
_STRETCHES, _ACTIVITIES = 5, 3
"""Number of latest stretches and activities whose median counts."""


class Plan(NamedTuple):
    """What a run consists of."""

    steps: Sequence[int]
    """Steps of each phase."""
    every: dict[str, int]
    """Steps between two activities of each kind, which also happen at the end of a phase."""
    evaluated: float = 0.0
    """How much larger the final evaluation is than one validation, in pixels."""
    relative_cost: float = 1.0
    """Expected duration of a step of the second phase, relative to one of the first."""


class TimeLeft:
    """Estimates the time left from the recent pace, the median of about a minute: one pause does not change it.

    The steps between two logging windows are only queued on a GPU, so that only stretches of seconds are measured.

    Args:
        plan: What the run consists of.
        now: The clock, in seconds.
    """

    def __init__(self, plan: Plan, now: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._now = plan, now
        self._paces = [deque[float](maxlen=_STRETCHES) for _ in plan.steps]
        """Seconds per step of the latest stretches of each phase."""
        self._durations = {kind: deque[float](maxlen=_ACTIVITIES) for kind in plan.every}
        self._phase, self._steps, self._started = 0, -1, now()

    def start_phase(self, phase: int) -> None:
        """Begin or resume a phase. Its first step is not measured, because networks are compiled and tuned in it."""
        self._phase, self._steps = phase, -1

    def advance(self) -> None:
        """Count one step."""
        self._steps += 1
        if self._steps == 0:
            self._started = self._now()
        elif self._now() - self._started >= _LONGEST:
            self._record()

    def synchronized(self) -> None:
        """Note that all steps so far are complete on the device, as at the end of a logging window."""
        if self._steps > 0 and self._now() - self._started >= _SHORTEST:
            self._record()

    def _record(self) -> None:
        self._paces[self._phase].append((self._now() - self._started) / self._steps)
        self._started, self._steps = self._now(), 0

    @contextmanager
    def activity(self, kind: str) -> Generator[None]:
        """Measure an activity apart from the steps."""
        before = self._now()
        try:
            yield
        finally:
            seconds = self._now() - before
            self._started += seconds
            self._durations.setdefault(kind, deque(maxlen=_ACTIVITIES)).append(seconds)

    def seconds(self, step: int, phase_start: int) -> float | None:
        """Return the estimated seconds until the run is complete; None before the second step of a session.

        Args:
            step: Steps that are done, over all phases.
            phase_start: Step at which the current phase started.
        """
        total, begin = 0.0, phase_start
        for phase in range(self._phase, len(self._plan.steps)):
            end = begin + self._plan.steps[phase]
            pace = self._pace(phase)
            if pace is None:
                return None
            total += max(0, end - step) * pace
            total += sum(_times(step, end, n) * self._duration(kind) for kind, n in self._plan.every.items())
            begin = step = max(end, step)
        return total + self._plan.evaluated * self._duration("validation")

    def _pace(self, phase: int) -> float | None:
        """Return the seconds per step of a phase; of one that was not measured yet, by its relative cost."""
        if self._paces[phase]:
            return median(self._paces[phase])
        if phase == self._phase and self._steps > 0:
            return (self._now() - self._started) / self._steps
        first = self._pace(0) if phase > 0 and (self._phase == 0 or self._paces[0]) else None
        return None if first is None else first * self._plan.relative_cost

    def _duration(self, kind: str) -> float:
        found = self._durations.get(kind)
        return median(found) if found else 0.0


def _times(step: int, end: int, every: int) -> int:
    """Return how often something happens behind `step` that is due every so many steps, and at the end."""
    return end // every - step // every + (end % every > 0) if end > step else 0
