"""The comparison figure: a square of each image by every method, side by side, with their scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from srgan_dist.evaluation.metrics import Scores, luma
from srgan_dist.imaging.images import Pixels

_SIDE, _ZOOM = 160, 2
"""Side of the square that is shown, in HR pixels, and its magnification."""
_CELL, _GAP, _LINE = _SIDE * _ZOOM, 8, 21
_FRAME = "red"
_SHOWN = {"psnr_y": "{:.2f} dB", "niqe": "NIQE {:.2f}", "grid_ratio": "grid {:.2f}"}
"""Scores that are written above a cell."""


@dataclass(frozen=True)
class Cell:
    """An image of a row of the figure, with up to two lines of text above it."""

    title: str
    image: Pixels
    scores: Scores = field(default_factory=dict[str, float])
    """Scores of the method on the complete image; those of `_SHOWN` are written below the title."""

    @property
    def caption(self) -> str:
        """The scores as text."""
        found = {name: self.scores.get(name, math.nan) for name in _SHOWN}
        return "  ".join(_SHOWN[name].format(value) for name, value in found.items() if not math.isnan(value))


@dataclass(frozen=True)
class Square:
    """A square of an HR image, in pixels."""

    y: int
    x: int
    side: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns, as slices."""
        return slice(self.y, self.y + self.side), slice(self.x, self.x + self.side)

    def cut(self, image: Pixels, scale: int = 1) -> Pixels:
        """Return a view of the square in an image (H/scale, W/scale, 3) that is `scale` times smaller than HR."""
        y, x, side = self.y // scale, self.x // scale, self.side // scale
        return image[y : y + side, x : x + side]


def busiest_square(hr: Pixels, side: int, scale: int) -> Square:
    """Return the square with the most detail: the one with the largest sum of luma gradients.

    Its corner is at multiples of `scale`.
    """
    # Clipped, so that one hard edge does not outweigh texture.
    gradient = np.abs(np.gradient(luma(hr))).sum(axis=0).clip(0, 24)
    side = min(side, *(n // scale * scale for n in hr.shape[:2]))
    return best_square(gradient, side, step=scale * max(1, 8 // scale))


def best_square(weights: NDArray[np.float64], side: int, step: int) -> Square:
    """Return the square with the largest sum of `weights` (H, W).

    Its corner is at multiples of `step`. Its side is limited to the image's.
    """
    side = min(side, *weights.shape)
    table = np.pad(weights.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    sums = sums[::step, ::step]
    y, x = np.unravel_index(int(sums.argmax()), sums.shape)
    return Square(int(y) * step, int(x) * step, side)


def cells(
    name: str, hr: Pixels, results: Mapping[str, Pixels], scores: Mapping[str, Scores], original: Scores, scale: int
) -> list[Cell]:
    """Return a row of the figure: the image with a frame, each method's result and HR inside that frame.

    Args:
        name: Name of the image.
        hr: The original.
        results: Each method's result for the complete image.
        scores: Each method's scores for the complete image.
        original: Scores of HR itself.
        scale: Upscaling factor.
    """
    square = busiest_square(hr, _SIDE, scale)
    row = [Cell(method, square.cut(sr), scores[method]) for method, sr in results.items()]
    return [Cell(name, _framed(hr, square)), *row, Cell("HR", square.cut(hr), original)]


def _framed(hr: Pixels, square: Square) -> Pixels:
    """Return the complete image, no larger than a cell, with a frame around the square."""
    image = Image.fromarray(hr)
    factor = _CELL / max(image.size)
    small = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))))
    left, top, right, bottom = (
        factor * n for n in (square.x, square.y, square.x + square.side, square.y + square.side)
    )
    ImageDraw.Draw(small).rectangle(
        (left, top, min(right, small.width - 1), min(bottom, small.height - 1)), None, _FRAME, 3
    )
    return np.asarray(small)


def draw(rows: Sequence[Sequence[Cell]], footnotes: Sequence[str]) -> Pixels:
    """Draw all rows into one image, (H, W, 3) uint8 RGB, with lines of text below them."""
    columns = max(len(row) for row in rows)
    row_height = _CELL + _GAP + 2 * _LINE
    width = columns * (_CELL + _GAP) + _GAP
    height = len(rows) * row_height + _GAP + (len(footnotes) + 1) * _LINE
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for r, row in enumerate(rows):
        top = r * row_height + _GAP
        for c, cell in enumerate(row):
            left = c * (_CELL + _GAP) + _GAP
            pen.text((left, top), _shortened(cell.title, pen, font), "black", font=font)
            pen.text((left, top + _LINE), cell.caption, "dimgray", font=font)
            sheet.paste(_zoomed(cell.image), (left, top + 2 * _LINE))
    for n, line in enumerate(footnotes):
        pen.text((_GAP, height - (len(footnotes) - n) * _LINE - _GAP), line, "dimgray", font=font)
    return np.asarray(sheet)


def _zoomed(image: Pixels) -> Image.Image:
    """Return an image magnified so that its longer side is that of a cell, if it is smaller."""
    height, width = image.shape[:2]
    if max(height, width) >= _CELL:
        return Image.fromarray(image)
    factor = _CELL / max(height, width)
    return Image.fromarray(image).resize((round(width * factor), round(height * factor)), Image.Resampling.NEAREST)


def _shortened(title: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a title that fits above a cell: a longer one ends in dots."""
    if pen.textlength(title, font=font) <= _CELL:
        return title
    while title and pen.textlength(f"{title}...", font=font) > _CELL:
        title = title[:-1]
    return f"{title}..."
