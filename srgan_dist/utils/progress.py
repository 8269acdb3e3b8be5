"""Logging and progress: a line that is rewritten on a terminal, lines in a log file."""

import copy
import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, suppress
from typing import TypeVar

from tqdm import tqdm

from srgan_dist.utils.status_line import Number, Status, duration, live_line, log_line
from srgan_dist.utils.terminal import printable, printable_lines

T = TypeVar("T")

log = logging.getLogger("srgan_dist")

_LOG_INTERVAL = 60.0
"""Seconds between two lines that stay."""
_TIME = len("12:00:00  ")
"""Length of the time at the start of a line of the log."""
_COLUMNS = 79
"""Width of a terminal that does not tell it."""


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


def is_live() -> bool:
    """Return whether standard error is a terminal that can rewrite a line; a file, a notebook or a dumb one cannot."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """One line that a terminal rewrites, and once a minute a line that stays; in a log file only the latter.

    Args:
        status: What to show first.
        visible: Whether this process shows anything.
        left: Returns the seconds until everything is done, or None if not known.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        status: Status,
        visible: bool,
        left: Callable[[], float | None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status, self._visible, self._left, self._now = status, visible, left, now
        self._logged = now()
        self._line = _LiveLine(self._current, status.step, status.total) if visible and is_live() else None
        self._shown, self._logged_step = False, -1

    def _current(self) -> Status:
        return self._status._replace(left=self._left())

    def advance(self) -> None:
        """Count one completed step."""
        self._status = self._status._replace(step=self._status.step + 1)
        if self._line is not None:
            self._line.update()
        if self._visible and self._shown and self._now() - self._logged >= _LOG_INTERVAL:
            self._log()

    def show(self, numbers: Sequence[Number]) -> None:
        """Show the latest numbers from now on; the first ones of a log file are written immediately."""
        self._status = self._status._replace(numbers=tuple(numbers))
        if self._visible and not self._shown and self._line is None:
            self._log()
        self._shown = True

    @contextmanager
    def activity(self, name: str) -> Generator[None]:
        """Show that something else than steps runs."""
        self._status = self._status._replace(activity=name)
        self._refresh()
        try:
            yield
        finally:
            self._status = self._status._replace(activity="")
            self._refresh()

    def close(self) -> None:
        """Write the last line, and stop rewriting it."""
        if self._line is not None:
            self._line.close()
        elif self._visible and self._shown and self._logged_step != self._status.step:
            self._log()

    def _refresh(self) -> None:
        if self._line is not None:
            self._line.refresh()

    def _log(self) -> None:
        self._logged, self._logged_step = self._now(), self._status.step
        log.info("%s", log_line(self._current(), self._line.columns - _TIME if self._line is not None else None))


class _LiveLine(tqdm):  # pyright: ignore[reportMissingTypeArgument]
    """A line of tqdm, which redraws it below other output, with our text."""

    def __init__(self, status: Callable[[], Status], step: int, total: int) -> None:
        self._status = status
        super().__init__(total=total, initial=step, dynamic_ncols=True, leave=True, file=sys.stderr)

    def __str__(self) -> str:
        return live_line(self._status(), self.columns, bool(self.ascii))

    @property
    def columns(self) -> int:
        """Width of the terminal, which may change at any time."""
        columns = self.format_dict["ncols"] or 0
        return columns if columns > 0 else _COLUMNS


def progress_bar(items: Iterable[T], label: str) -> Iterator[T]:
    """Yield the items while showing a progress bar, or without a terminal a log line every minute."""
    if is_live():
        # The bar of a nested loop disappears when it is complete.
        yield from tqdm(items, desc=label, dynamic_ncols=True, leave=None)
        return
    total = len(items) if isinstance(items, Sized) else None
    started = logged = time.monotonic()
    for n, item in enumerate(items):
        if n and time.monotonic() - logged > _LOG_INTERVAL:
            logged = time.monotonic()
            left = f"  {duration((logged - started) / n * (total - n))} left" if total else ""
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
