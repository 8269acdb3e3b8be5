"""One line about a long computation: where it is, its latest numbers and the time left, fitted to the terminal."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

_LEAST_BAR, _LONGEST_BAR = 5, 30
"""Characters of the bar; without room for the shorter one, there is none."""


class Number(NamedTuple):
    """A number to show, in two forms."""

    text: str
    """With its name and unit, as in `loss 0.0123`."""
    short: str
    """For narrow terminals; empty to leave the number out there."""


class Status(NamedTuple):
    """What a line says."""

    label: str
    """Name of the current phase."""
    step: int
    """Steps that are done, over all phases."""
    total: int
    """Steps of all phases."""
    numbers: Sequence[Number] = ()
    """The least important ones last."""
    left: float | None = None
    """Seconds until everything is done; None if not known."""
    activity: str = ""
    """What runs instead of steps, for example `validation`."""

    @property
    def fraction(self) -> float:
        """The part that is done, from 0 to 1."""
        return min(1.0, self.step / max(1, self.total))

    @property
    def percent(self) -> str:
        """The part that is done, in percent; 100 only at the end."""
        return f"{int(100 * self.fraction)}%"


def log_line(status: Status, width: int | None = None) -> str:
    """Return the line that stays: in a log file with all numbers, on a terminal those for which its width suffices."""
    parts = [status.label, f"step {status.step}/{status.total} ({status.percent})", *(n.text for n in status.numbers)]
    line = "  ".join([*parts, *_left(status.left, " left")])
    if width is None or len(line) <= width:
        return line
    head, tails = _head(status), ["  ".join(parts) for parts in _candidates(status)]
    return next((head + tail for tail in tails if len(head + tail) <= width), (head + tails[-1])[:width])


def live_line(status: Status, width: int, ascii_only: bool = False) -> str:
    """Return the line for a terminal of `width` columns, with a bar if there is room for one.

    Where it would be too long, the least important numbers are left out or shortened; a line that is still too long is
    cut off at its end.
    """
    head, tails = _head(status), ["  ".join(parts) for parts in _candidates(status)]
    for tail in tails:
        room = width - len(head) - len(tail) - len("|| ")
        if room >= _LEAST_BAR:
            return head + _bar(status, min(room, _LONGEST_BAR), ascii_only) + tail
    return (head + tails[-1])[:width]


def _head(status: Status) -> str:
    return f"{status.label} {status.percent:>4} "


def _bar(status: Status, width: int, ascii_only: bool) -> str:
    if len(status.activity) and width + 2 >= len(status.activity):
        return f"{status.activity:<{width + 2}} "
    symbols = " 123456789#" if ascii_only else " ▏▎▍▌▋▊▉█"
    full, part = divmod(int(status.fraction * width * (len(symbols) - 1)), len(symbols) - 1)
    bar = symbols[-1] * full + (symbols[part] if full < width else "")
    return f"|{bar:<{width}}| "


def _candidates(status: Status) -> Iterator[list[str]]:
    """Yield the parts behind the bar, from the longest version to the shortest."""
    count, left = f"{status.step}/{status.total}", status.left
    required = [n for n in status.numbers if n.short]
    optional = [n.text for n in status.numbers if not n.short]
    full = [n.text for n in required]
    for kept in range(len(optional), -1, -1):
        yield [f"step {count}", *full, *optional[:kept], *_left(left, " left")]
    yield [count, *full, *_left(left, " left")]
    # The first number, the loss, keeps its name longest: the units of the others tell what they are.
    order = [*range(1, len(required)), *range(len(required))[:1]]
    for shortened in range(1, len(order) + 1):
        texts = [n.short if i in order[:shortened] else n.text for i, n in enumerate(required)]
        yield [count, *texts, *_left(left, " left")]
        yield [count, *texts, *_left(left, "")]
    yield [f"{_thousands(status.step)}/{_thousands(status.total)}", *(n.short for n in required), *_left(left, "")]


def _left(seconds: float | None, word: str) -> list[str]:
    return [] if seconds is None else [duration(seconds) + word]


def _thousands(count: int) -> str:
    return str(count) if count < 10_000 else f"{count // 1000}k"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, as in `2h13m`, `45m10s` or `9s`."""
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
