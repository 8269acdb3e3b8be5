"""What all processes decide together: to stop, and what to say about skipped steps.

One small all-reduce about once a second carries every flag, so that no process ever acts alone (a process that
stops or skips by itself leaves the others waiting in a collective).
"""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from srgan_dist.distributed.launcher import find_launcher

_SECONDS_BETWEEN = 1.0


class StopRequested(Exception):  # noqa: N818 (not an error: the run is whole and can go on)
    """Training stopped because it was asked to; a checkpoint was written."""


class Decision(NamedTuple):
    """The same on every process."""

    stop: str
    """Why to stop, or nothing."""
    skipped_in_row: int
    new_skips: int
    """Steps skipped since the last decision."""


class Skips:
    """Counts steps without a finite gradient, on the device."""

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(3, device=device)
        """In a row, in all, and the number of the last one that this process's own crops spoilt (from 1)."""

    def add(self, terms: Mapping[str, Tensor], skipped: Tensor, step: int) -> None:
        """One step: this process's own terms, and whether all processes skipped it (bool scalar)."""
        own = [term for name, term in terms.items() if not name.endswith("_norm")]  # norms are of all processes
        mine = ~torch.stack([term.float() for term in own]).isfinite().all()
        in_row = torch.where(skipped, self._counts[0] + 1, 0.0)
        last = torch.where(mine, float(step + 1), self._counts[2])
        self._counts = torch.stack([in_row, self._counts[1] + skipped, last])

    def read(self) -> tuple[int, int, int | None]:
        """In a row, in all, and the last step that this process's crops spoilt. Waits for the device."""
        in_row, total, last = (int(n) for n in self._counts.tolist())
        return in_row, total, last - 1 if last else None


class StopCoordinator:
    """Watches for requests to stop: signals, a `STOP` file, a time limit, a launcher that is gone."""

    def __init__(self, accelerator: Accelerator, run: Path, time_limit: float | None) -> None:
        self._accelerator, self._stop_file = accelerator, run / "STOP"
        launcher = find_launcher()
        self._launcher = launcher.pid if launcher else None
        self._deadline = time.monotonic() + time_limit * 60 if time_limit else None
        self._signal, self._skipped = 0, 0
        self._next, self._interval, self._checked = 0, 1.0, (0, time.monotonic())
        self._handlers = {n: signal.signal(n, self._record_signal) for n in (signal.SIGTERM, signal.SIGINT)}
        if accelerator.is_main_process:
            self._stop_file.unlink(missing_ok=True)  # left over from the stop before

    def close(self) -> None:
        """Gives the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _record_signal(self, number: int, _: FrameType | None) -> None:
        if self._signal == signal.SIGINT == number:
            signal.default_int_handler(number, None)  # a second Ctrl-C does not wait for the step
        self._signal = number

    def due(self, step: int) -> bool:
        """Whether to decide after this step; the same answer on every process."""
        return step >= self._next

    def decide(self, step: int, skips: Skips) -> Decision:
        """Asks all processes."""
        in_row, total, _ = skips.read()
        flags = torch.tensor([*self._flags(), self._steps_until_next(step)], dtype=torch.float64)
        flags = self._accelerator.reduce(flags.float().to(self._accelerator.device), "sum").tolist()  # pyright: ignore
        self._next = step + max(1, int(flags[-1] / self._accelerator.num_processes))
        reasons = [
            r for r, flag in zip(("signal", "STOP file", "time limit", "launcher exited"), flags, strict=False) if flag
        ]
        new, self._skipped = total - self._skipped, total
        return Decision(", ".join(reasons), in_row, new)

    def _flags(self) -> tuple[bool, bool, bool, bool]:
        main = self._accelerator.is_main_process
        return (
            bool(self._signal),
            main and self._stop_file.exists(),
            bool(main and self._deadline and time.monotonic() > self._deadline),
            bool(self._launcher and os.getppid() != self._launcher),
        )

    def _steps_until_next(self, step: int) -> float:
        """So many steps as take about a second, by the pace since the last decision.

        At most twice as many as the last time: the pace is wrong after a resume, whose steps were not made here, and
        after a pause.
        """
        since, then = self._checked
        now = time.monotonic()
        self._checked = (step, now)
        pace = (step - since) / max(1e-3, now - then)
        self._interval = max(1.0, min(_SECONDS_BETWEEN * pace, 2 * self._interval))
        return self._interval
