"""Decisions that all processes take together: whether to stop, and how many steps were skipped.

A process that stopped or skipped on its own would leave the others waiting in their next collective. So each process
only raises flags; about once a second one small all-reduce sums the flags, and all processes act on the sum.
"""

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from srgan_dist.distributed.launcher import find_launcher, has_exited

_SECONDS_BETWEEN = 1.0
"""Target time between two decisions."""
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)]
"""Signals that request a stop; only Windows has SIGBREAK (Ctrl-Break), and only it ends a process group there."""
_REASONS = ("signal", "STOP file", "time limit", "launcher exited")
"""Why training stops, in the order of `StopCoordinator._flags`."""


class StopRequested(Exception):  # noqa: N818 (not an error: the run is intact and can be resumed)
    """Training stopped on request, after writing a checkpoint."""


class Decision(NamedTuple):
    """What all processes agreed on; identical on every process."""

    stop: str
    """Why to stop; empty to continue."""
    skipped_in_row: int
    """Consecutive steps skipped up to now."""
    new_skips: int
    """Steps skipped since the last decision."""


class Skips:
    """Counters of steps with a non-finite gradient, kept on the device."""

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(3, device=device)
        """Skipped in a row; skipped in total; the last step (from 1) at which a loss of this process was not finite."""

    def add(self, terms: Mapping[str, Tensor], skipped: Tensor, step: int) -> None:
        """Count one step without synchronizing with the device.

        Args:
            terms: scalars of this process; those named `*_norm` are the same on all processes.
            skipped: whether all processes skipped the step; bool scalar on the device.
            step: number of the step, from 0.
        """
        # Gradient norms are reduced over processes: they would blame every process for one process's crops.
        local_terms = [term for name, term in terms.items() if not name.endswith("_norm")]
        bad_here = ~torch.stack([term.float() for term in local_terms]).isfinite().all()
        in_row = torch.where(skipped, self._counts[0] + 1, 0.0)
        last_bad = torch.where(bad_here, float(step + 1), self._counts[2])
        self._counts = torch.stack([in_row, self._counts[1] + skipped, last_bad])

    def read(self) -> tuple[int, int, int | None]:
        """Return the counters; synchronizes with the device.

        Returns:
            Steps skipped in a row, steps skipped in total, and the last step (from 0) with a non-finite loss caused by
            this process's crops, or None.
        """
        in_row, total, last = (int(n) for n in self._counts.tolist())
        return in_row, total, last - 1 if last else None


class StopCoordinator:
    """Watches for requests to stop: signals, a `STOP` file, a time limit, a launcher that exited.

    Args:
        run: the run directory, in which a `STOP` file requests a stop.
        time_limit: minutes from now; None for no limit.
    """

    def __init__(self, accelerator: Accelerator, run: Path, time_limit: float | None) -> None:
        self._accelerator, self._stop_file = accelerator, run / "STOP"
        launcher = find_launcher()
        self._launcher = launcher.pid if launcher else None
        self._deadline = time.monotonic() + time_limit * 60 if time_limit else None
        self._signal, self._skipped = 0, 0
        self._next_step, self._interval, self._last_check = 0, 1.0, (0, time.monotonic())
        # The handler only records the signal: leaving from inside it would abandon the other processes mid-step.
        self._handlers = {n: signal.signal(n, self._record_signal) for n in _SIGNALS}
        if accelerator.is_main_process:
            self._stop_file.unlink(missing_ok=True)  # left over from the previous stop

    def close(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _record_signal(self, number: int, _: FrameType | None) -> None:
        if self._signal == signal.SIGINT == number:
            signal.default_int_handler(number, None)  # a second Ctrl-C does not wait for the end of the step
        self._signal = number

    def due(self, step: int) -> bool:
        """Return whether to call `decide` after this step; the same answer on every process."""
        return step >= self._next_step

    def requested(self) -> str:
        """Return why this process was asked to stop, or an empty string. Not collective: other processes may not know.

        For a process that waits for something that may never come; all others stop by `decide`.
        """
        return ", ".join(reason for reason, flag in zip(_REASONS, self._flags(), strict=True) if flag)

    def decide(self, step: int, skips: Skips) -> Decision:
        """Agree with all processes on whether to stop. Collective; synchronizes with the device."""
        in_row, total, _ = skips.read()
        flags = torch.tensor([*self._flags(), self._steps_until_next(step)], dtype=torch.float64)
        flags = self._accelerator.reduce(flags.float().to(self._accelerator.device), "sum").tolist()  # pyright: ignore
        # Each process measures its own pace, but all of them must meet at the same step: they take the mean.
        self._next_step = step + max(1, int(flags[-1] / self._accelerator.num_processes))
        reasons = [r for r, flag in zip(_REASONS, flags, strict=False) if flag]
        new, self._skipped = total - self._skipped, total
        return Decision(", ".join(reasons), in_row, new)

    def _flags(self) -> tuple[bool, bool, bool, bool]:
        main = self._accelerator.is_main_process
        return (
            bool(self._signal),
            main and self._stop_file.exists(),
            bool(main and self._deadline and time.monotonic() > self._deadline),
            bool(self._launcher and has_exited(self._launcher)),
        )

    def _steps_until_next(self, step: int) -> float:
        """Return the number of steps that take about a second at the pace since the last decision.

        It at most doubles from one decision to the next, because the pace is wrong after a pause, and after a resume,
        whose earlier steps were not computed by this process.
        """
        last_step, last_time = self._last_check
        now = time.monotonic()
        self._last_check = (step, now)
        pace = (step - last_step) / max(1e-3, now - last_time)
        self._interval = max(1.0, min(_SECONDS_BETWEEN * pace, 2 * self._interval))
        return self._interval
