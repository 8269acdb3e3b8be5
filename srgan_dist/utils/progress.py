"""Logging and progress: a progress bar on a terminal, lines in a log file."""

import copy
import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from typing import TypeVar

from tqdm import tqdm

from srgan_dist.utils.terminal import printable, printable_lines

T = TypeVar("T")

log = logging.getLogger("srgan_dist")

_LOG_INTERVAL = 30.0
"""Seconds between log lines of `progress_bar` without a terminal."""


def start_logging(first: bool) -> None:
    """Send this package's log to stderr. Processes other than the first log warnings and errors only."""
    handler = logging.StreamHandler(_TqdmStream())
    handler.setFormatter(_Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.INFO if first else logging.WARNING)


class _Formatter(logging.Formatter):
    """Quotes what is put into a message: names and answers from outside must not move the cursor or fake a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        quoted = copy.copy(record)
        if isinstance(record.args, tuple):
            quoted.args = tuple(a if isinstance(a, (int, float)) else printable(a) for a in record.args)
        return printable_lines(super().format(quoted))


class _TqdmStream:
    """Standard error; text that cannot be written is dropped, because a lost log line must not end a training."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            tqdm.write(text, file=sys.stderr, end="")  # tqdm redraws the progress bar below the text

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


class Progress:
    """A progress bar with the step, metrics and remaining time. Without a terminal, metrics are logged as lines.

    Args:
        label: Name of the phase.
        first: Number of steps that are already done.
        last: Number of steps when the phase is complete.
        visible: Whether this process shows anything.
    """

    def __init__(self, label: str, first: int, last: int, visible: bool) -> None:
        self._label, self._last, self._visible = label, last, visible
        self._started, self._first, self._step = time.monotonic(), first, first
        terminal = visible and sys.stderr.isatty()
        self._bar = tqdm(
            total=last, initial=first, desc=label, unit="step", dynamic_ncols=True, disable=not terminal, leave=True
        )

    def advance(self) -> None:
        """Count one completed step."""
        self._step += 1
        self._bar.update()

    def show(self, numbers: dict[str, float]) -> None:
        """Show the latest metrics, rounded to four digits."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if not self._bar.disable:
            self._bar.set_postfix_str(text)
        elif self._visible:
            pace = (time.monotonic() - self._started) / max(1, self._step - self._first)
            left = _clock(pace * (self._last - self._step))
            log.info("%s  step %d/%d  %s  %s left", self._label, self._step, self._last, text, left)

    def close(self) -> None:
        """Stop updating the progress bar, which stays on the terminal."""
        self._bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def progress_bar(items: Iterable[T], label: str) -> Iterator[T]:
    """Yield the items while showing a progress bar, or without a terminal a log line every 30 seconds."""
    if sys.stderr.isatty():
        # The bar of a nested loop disappears when it is complete.
        yield from tqdm(items, desc=label, dynamic_ncols=True, leave=None)
        return
    total = len(items) if isinstance(items, Sized) else None
    started = logged = time.monotonic()
    for n, item in enumerate(items):
        if n and time.monotonic() - logged > _LOG_INTERVAL:
            logged = time.monotonic()
            left = f"  {_clock((logged - started) / n * (total - n))} left" if total else ""
            log.info("%s  %d/%s%s", label, n, total or "?", left)
        yield item


@contextmanager
def byte_bar(label: str, first: int, last: int) -> Generator[Callable[[int], object]]:
    """Show a progress bar of bytes on a terminal, and nothing without one; yield a function that advances it.

    Args:
        label: Name of the file.
        first: Number of bytes that are already there.
        last: Size of the file in bytes.
    """
    with tqdm(
        total=last, initial=first, desc=label, unit="B", unit_scale=True, dynamic_ncols=True, disable=None
    ) as bar:
        yield bar.update
