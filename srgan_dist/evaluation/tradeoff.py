"""The perception-distortion plot: PSNR-Y against NIQE, one dot per method (Blau and Michaeli 2018, Fig. 2)."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan_dist.evaluation.curves import COLORS
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.evaluation.ticks import round_ticks
from srgan_dist.imaging.images import Pixels

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 480, 72, 700, 70, 410
_RADIUS, _LINE = 6, 18
TITLE = "Closer to the original is to the right, more natural is below"

Point = tuple[float, float]
"""PSNR-Y in dB and NIQE."""


def draw_tradeoff(evaluation: Evaluation) -> Pixels | None:
    """Draw the plot of an evaluation's methods, (480, 760, 3) uint8 RGB; None if none of them has PSNR-Y and NIQE."""
    points = {
        method: (scores["psnr_y"], scores["niqe"])
        for method, scores in evaluation.means().items()
        if math.isfinite(scores["psnr_y"]) and math.isfinite(scores.get("niqe", math.nan))
    }
    if not points:
        return None
    of_hr = evaluation.original_means().get("niqe", math.nan)
    sheet = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen = ImageDraw.Draw(sheet)
    axes = _Axes(list(points.values()), of_hr)
    axes.draw(pen, of_hr)
    taken: list[tuple[float, float, float, float]] = []
    colors = {method: COLORS[number % len(COLORS)] for number, method in enumerate(points)}
    # From the top down, so that a label that gives way to another one stays below it, as its dot does.
    for method, point in sorted(points.items(), key=lambda entry: -entry[1][1]):
        x, y = axes.place(point)
        pen.ellipse((x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS), fill=colors[method])
        _label(pen, _shortened(method), (x, y), colors[method], taken)
    return np.asarray(sheet)


class _Axes:
    """The ranges of both axes, and the pixels that they map to."""

    def __init__(self, points: list[Point], of_hr: float) -> None:
        rated = [niqe for _, niqe in points] + ([of_hr] if math.isfinite(of_hr) else [])
        self.x, self.y = round_ticks([psnr for psnr, _ in points]), round_ticks(rated)

    def place(self, point: Point) -> Point:
        """Return the position of a point in pixels."""
        x = _LEFT + (_RIGHT - _LEFT) * (point[0] - self.x[0]) / (self.x[-1] - self.x[0])
        return x, _BOTTOM - (_BOTTOM - _TOP) * (point[1] - self.y[0]) / (self.y[-1] - self.y[0])

    def draw(self, pen: ImageDraw.ImageDraw, of_hr: float) -> None:
        """Draw grid, tick labels and titles, and HR's own NIQE as a line."""
        font, small = ImageFont.load_default(16), ImageFont.load_default(13)
        for value in self.x:
            x, _ = self.place((value, self.y[0]))
            pen.line((x, _TOP, x, _BOTTOM), "gainsboro")
            pen.text((x, _BOTTOM + 8), f"{value:g}", "dimgray", font=small, anchor="ma")
        for value in self.y:
            _, y = self.place((self.x[0], value))
            pen.line((_LEFT, y, _RIGHT, y), "gainsboro")
            pen.text((_LEFT - 8, y), f"{value:g}", "dimgray", font=small, anchor="rm")
        pen.text((_LEFT, 10), TITLE, "black", font=font)
        pen.text((_RIGHT, _BOTTOM + 30), "PSNR-Y, dB  (more is better)", "dimgray", font=small, anchor="ra")
        pen.text((_LEFT - 8, _TOP - 18), "NIQE  (less is better)", "dimgray", font=small, anchor="lm")
        if math.isfinite(of_hr):
            _, y = self.place((self.x[0], of_hr))
            for x in range(_LEFT, _RIGHT, 12):
                pen.line((x, y, x + 6, y), "seagreen", width=2)
            pen.text((_RIGHT, y - 4), "HR", "seagreen", font=small, anchor="rs")


def _label(
    pen: ImageDraw.ImageDraw, text: str, at: Point, color: str, taken: list[tuple[float, float, float, float]]
) -> None:
    """Write a label beside a dot: to the right, or to the left at the edge; moved down while it covers another one."""
    font = ImageFont.load_default(14)
    length = pen.textlength(text, font=font)
    left = at[0] + _RADIUS + 4 if at[0] + _RADIUS + 4 + length < _WIDTH - 4 else at[0] - _RADIUS - 4 - length
    top = at[1] - _LINE / 2
    while any(left < r and left + length > a and top < b and top + _LINE > t for a, t, r, b in taken):
        top += _LINE / 2
    taken.append((left, top, left + length, top + _LINE))
    pen.text((left, top + _LINE / 2), text, color, font=font, anchor="lm")


def _shortened(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:37]}..."
