"""Splitting an image into overlapping windows, so that it can be upscaled window by window without visible seams.

Each window reads a margin around the part that it contributes to the result. The contributed parts (cores) are
disjoint and cover the image, so nothing is blended: what the network computes in the margin is dropped.
"""

from collections.abc import Iterator
from itertools import groupby
from math import ceil
from typing import NamedTuple


class Span(NamedTuple):
    """A window along one axis, in LR pixels: it reads [start, stop) and contributes the core [first, last)."""

    start: int
    stop: int
    first: int
    last: int


class Window(NamedTuple):
    """A rectangular window of the image."""

    rows: Span
    columns: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the region that the window reads."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def spans(length: int, side: int, margin: int, align: int = 1, wrap: bool = False) -> list[Span]:
    """Split one axis into spans with cores of equal length, except perhaps the last one.

    Args:
        length: Size of the image along the axis, in LR pixels.
        side: Largest length of a core, before it is rounded up to a multiple of `align`.
        margin: Pixels to read on both sides of a core. Reads are clipped to the image, unless it wraps.
        align: Spans start at multiples of this, for networks that divide their input into a grid of that size.
        wrap: The image continues at the opposite edge: reads may start below 0 and end beyond `length`.
    """
    step = _round_up(ceil(length / ceil(length / side)), align)
    if wrap:
        cores = [(first, min(length, first + step)) for first in range(0, length, step)]
        return [Span((a - margin) // align * align, _round_up(b + margin, align), a, b) for a, b in cores]
    return [
        Span(
            start=max(0, first - margin) // align * align,
            stop=min(length, _round_up(first + step + margin, align)),
            first=first,
            last=min(length, first + step),
        )
        for first in range(0, length, step)
    ]


def windows(
    height: int, width: int, sides: tuple[int, int], margin: int, align: int = 1, wrap: bool = False
) -> list[Window]:
    """Return windows that cover an image, row by row; `sides` limits the height and width of a core (see `spans`)."""
    columns = spans(width, sides[1], margin, align, wrap)
    return [Window(r, c) for r in spans(height, sides[0], margin, align, wrap) for c in columns]


def batches(tiles: list[Window], size: int) -> Iterator[list[Window]]:
    """Yield batches of up to `size` windows of the same shape; windows at the image's edge may be smaller."""
    for _, same_shape in groupby(sorted(tiles, key=lambda t: t.shape), key=lambda t: t.shape):
        group = list(same_shape)
        for i in range(0, len(group), size):
            yield group[i : i + size]


def best_sides(
    height: int, width: int, pixels: float, margin: int, align: int = 1, wrap: bool = False
) -> tuple[int, int]:
    """Return the core size (height, width) with the least overlap whose windows read at most `pixels`.

    Falls back to 32x32, or the image if it is smaller, when no window fits.
    """
    choices: list[tuple[int, int, tuple[int, int]]] = []
    for rows in range(1, ceil(height / 32) + 1):
        core_height = ceil(height / rows)
        for columns in range(1, ceil(width / 32) + 1):
            sides = (core_height, ceil(width / columns))
            # Lengths that the windows read along each axis. Their sums multiply to the total number of pixels read.
            read = [
                sorted(s.stop - s.start for s in spans(*side, margin, align, wrap))
                for side in zip((height, width), sides, strict=True)
            ]
            if read[0][-1] * read[1][-1] <= pixels:
                choices.append((sum(read[0]) * sum(read[1]), rows * columns, sides))
                break  # for this number of rows, more columns only add overlap
    return min(choices)[2] if choices else (min(height, 32), min(width, 32))


def _round_up(value: int, align: int) -> int:
    return ceil(value / align) * align
