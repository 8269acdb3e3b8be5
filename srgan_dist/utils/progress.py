"""What a person sees while training: a bar on a terminal, lines in a log file."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

log = logging.getLogger("srgan_dist")


def start_logging(first: bool) -> None:
    """Lines to stderr; other processes than the first only warn."""
    handler = logging.StreamHandler(_TqdmStream())
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.INFO if first else logging.WARNING)


class _TqdmStream:
    def write(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr, end="")  # does not tear the bar

    def flush(self) -> None:
        sys.stderr.flush()


class Progress:
    """A bar with step, numbers, crops/s and time left; without a terminal, a line whenever numbers come."""

    def __init__(self, label: str, first: int, last: int, visible: bool) -> None:
        self._label, self._last, self._visible = label, last, visible
        self._started, self._first, self._step = time.monotonic(), first, first
        terminal = visible and sys.stderr.isatty()
        self._bar = tqdm(
            total=last, initial=first, desc=label, unit="step", dynamic_ncols=True, disable=not terminal, leave=True
        )

    def advance(self) -> None:
        """One step is done."""
        self._step += 1
        self._bar.update()

    def show(self, numbers: dict[str, float]) -> None:
        """The latest numbers, rounded."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if not self._bar.disable:
            self._bar.set_postfix_str(text)
        elif self._visible:
            pace = (time.monotonic() - self._started) / max(1, self._step - self._first)
            left = _clock(pace * (self._last - self._step))
            log.info("%s  step %d/%d  %s  left %s", self._label, self._step, self._last, text, left)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def progress_bar(items: Iterable[T], label: str) -> Iterator[T]:
    """The items, with a progress bar on a terminal, else with a line every half minute."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, dynamic_ncols=True, leave=None)  # one inside another goes away
        return
    total = len(items) if isinstance(items, Sized) else None
    started = told = time.monotonic()
    for n, item in enumerate(items):
        if n and time.monotonic() - told > _SILENCE:
            told = time.monotonic()
            left = f"  left {_clock((told - started) / n * (total - n))}" if total else ""
            log.info("%s  %d/%s%s", label, n, total or "?", left)
        yield item


_SILENCE = 30.0
"""Seconds."""
