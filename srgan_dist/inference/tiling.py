"""Cutting an image into overlapping windows whose results fit together without a seam."""

from collections.abc import Iterator
from itertools import groupby
from math import ceil
from typing import NamedTuple


class Span(NamedTuple):
    """Along one side of the image, in LR pixels: what a window reads, and which part of that is its result."""

    start: int
    stop: int
    first: int
    last: int


class Window(NamedTuple):
    """A rectangle of the image."""

    rows: Span
    columns: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what is read."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def spans(length: int, side: int, margin: int, align: int = 1) -> list[Span]:
    """`length` pixels in equal results of at most about `side`, each read with `margin` pixels around it.

    Beyond the image there is nothing to read. Windows begin at multiples of `align`, for networks that lay a
    grid of that size over what they read.
    """
    step = _up(ceil(length / ceil(length / side)), align)
    firsts = range(0, length, step)
    return [
        Span(max(0, f - margin) // align * align, min(length, _up(f + step + margin, align)), f, min(length, f + step))
        for f in firsts
    ]


def windows(height: int, width: int, sides: tuple[int, int], margin: int, align: int = 1) -> list[Window]:
    """The windows that cover an image with results of at most `sides` (height, width)."""
    columns = spans(width, sides[1], margin, align)
    return [Window(r, c) for r in spans(height, sides[0], margin, align) for c in columns]


def batches(tiles: list[Window], size: int) -> Iterator[list[Window]]:
    """Up to `size` windows of the same shape at a time."""
    for _, same in groupby(sorted(tiles, key=lambda t: t.shape), key=lambda t: t.shape):
        group = list(same)
        for i in range(0, len(group), size):
            yield group[i : i + size]


def best_sides(height: int, width: int, pixels: float, margin: int, align: int = 1) -> tuple[int, int]:
    """The cut with the least overlap whose windows hold at most `pixels`; as small as 32x32 where nothing fits."""
    choices: list[tuple[int, int, tuple[int, int]]] = []
    for rows in range(1, ceil(height / 32) + 1):
        tall = ceil(height / rows)
        for columns in range(1, ceil(width / 32) + 1):
            sides = (tall, ceil(width / columns))
            read = [
                sorted(s.stop - s.start for s in spans(*side, margin, align))
                for side in zip((height, width), sides, strict=True)
            ]
            if read[0][-1] * read[1][-1] <= pixels:
                choices.append((sum(read[0]) * sum(read[1]), rows * columns, sides))
                break  # more columns only overlap more
    return min(choices)[2] if choices else (min(height, 32), min(width, 32))


def _up(value: int, align: int) -> int:
    return ceil(value / align) * align
