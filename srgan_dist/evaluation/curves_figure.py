"""`curves.png` in a run directory: losses, PSNR and NIQE of both phases, with bicubic interpolation as a line."""

import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from srgan_dist.evaluation.curves import COLORS, Curve, read_curves
from srgan_dist.evaluation.ticks import decades, round_ticks
from srgan_dist.runs.metric_names import (
    ACCURACY,
    DISCRIMINATOR,
    LOSS,
    NIQE,
    NIQE_BICUBIC,
    NIQE_HR,
    PIXEL,
    PSNR,
    PSNR_BICUBIC,
    TERMS,
)
from srgan_dist.utils.files import atomic_path

FILE = "curves.png"
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 600, 380, 74, 584, 62, 336
"""Size of a panel and the sides of its plot, in pixels."""
_FINER = 2
"""Lines are drawn this many times larger, and smoothed."""
_MAX_POINTS = 400
_GRAY = "#6b7280"


class _Line(NamedTuple):
    metric: str
    name: str
    constant: bool = False
    """Whether it is a reference that the others are compared with: drawn dashed and gray."""


class _Panel(NamedTuple):
    title: str
    lines: tuple[_Line, ...]
    logarithmic: bool = False


_PANELS = (
    _Panel("PSNR-Y in dB, more is better", (_Line(PSNR, "the run"), _Line(PSNR_BICUBIC, "bicubic", True))),
    _Panel(
        "NIQE, less is better",
        (_Line(NIQE, "the run"), _Line(NIQE_BICUBIC, "bicubic", True), _Line(NIQE_HR, "HR", True)),
    ),
    _Panel(
        "Generator: terms of the loss before their weights",
        tuple(_Line(name, name.rpartition("/")[2]) for name in TERMS),
        logarithmic=True,
    ),
    _Panel("Discriminator", (_Line(DISCRIMINATOR, "loss"), _Line(ACCURACY, "accuracy"))),
)


def write_curves(run: Path) -> None:
    """Draw the curves in a run's `metrics.jsonl`, and write `curves.png` atomically; nothing if there are none.

    Raises:
        OSError: The file cannot be written.
    """
    if (figure := draw_figure(read_curves(run))) is not None:
        with atomic_path(run / FILE) as partial:
            figure.save(partial, "PNG")


def draw_figure(curves: dict[str, Curve]) -> Image.Image | None:
    """Draw those panels for which there are curves, two beside each other; None if there are none."""
    panels = [panel for panel in _PANELS if any(line.metric in curves for line in panel.lines)]
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    sheet = Image.new("RGB", (columns * _WIDTH, rows * _HEIGHT), "white")
    end = max(step for curve in curves.values() for step, _ in curve)
    boundary = _phase_boundary(curves)
    for number, panel in enumerate(panels):
        drawn = _draw(panel, curves, end, boundary)
        sheet.paste(drawn, (number % columns * _WIDTH, number // columns * _HEIGHT))
    return sheet


def _phase_boundary(curves: dict[str, Curve]) -> float | None:
    """Return the last step before the discriminator learns; None for runs of one phase."""
    if not curves.get(DISCRIMINATOR):
        return None
    first = curves[DISCRIMINATOR][0][0]
    before = [step for step, _ in curves.get(LOSS, curves.get(PIXEL, [])) if step < first]
    return before[-1] if before else None


def _draw(panel: _Panel, curves: dict[str, Curve], end: float, boundary: float | None) -> Image.Image:
    shown = {line: _averaged(curves[line.metric]) for line in panel.lines if curves.get(line.metric)}
    values = [value for curve in shown.values() for _, value in curve]
    logarithmic = panel.logarithmic and min(values) > 0 and max(values) > 20 * min(values)
    axes = _Axes(decades(values) if logarithmic else round_ticks(values), end, logarithmic)
    image = Image.new("RGB", (_WIDTH * _FINER, _HEIGHT * _FINER), "white")
    pen = ImageDraw.Draw(image)
    axes.draw(pen, panel.title, boundary)
    x = float(_LEFT * _FINER)
    for number, (line, curve) in enumerate(shown.items()):
        color = _GRAY if line.constant else COLORS[number]
        _polyline(pen, [axes.place(point) for point in curve], color, dashed=line.constant)
        if line.constant:  # named above its left end; a second one further right, because it may be close
            _, y = axes.place(curve[-1])
            pen.text(((_LEFT + 6 + 70 * (number - 1)) * _FINER, y - 3 * _FINER), line.name, color, _font(13), "ls")
        else:
            pen.text((x, 48 * _FINER), line.name, color, font=_font(14), anchor="ls")
            x += pen.textlength(line.name, font=_font(14)) + 18 * _FINER
    return image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)


def _averaged(curve: Curve) -> Curve:
    """Return a curve of at most 400 points, each the mean of neighbors."""
    size = math.ceil(len(curve) / _MAX_POINTS)
    chunks = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(sum(x for x, _ in c) / len(c), sum(y for _, y in c) / len(c)) for c in chunks]


class _Axes:
    """Maps points (step, value) to pixels, and draws grid and labels."""

    def __init__(self, ticks: list[float], end: float, logarithmic: bool) -> None:
        self._ticks, self._logarithmic = ticks, logarithmic
        self._steps = round_ticks([0.0, max(end, 1.0)], margin=0)
        self._end = max(end, 1.0)

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return the position of a point in pixels of the larger drawing."""
        low, high, value = (math.log10(v) if self._logarithmic else v for v in (*self._range(), point[1]))
        x = _LEFT + (_RIGHT - _LEFT) * point[0] / self._end
        return x * _FINER, (_BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)) * _FINER

    def _range(self) -> tuple[float, float]:
        return self._ticks[0], self._ticks[-1]

    def draw(self, pen: ImageDraw.ImageDraw, title: str, boundary: float | None) -> None:
        """Draw the title, the grid with its labels, and a vertical line between the phases."""
        left, right = _LEFT * _FINER, _RIGHT * _FINER
        pen.text((left, 26 * _FINER), title, "black", font=_font(16), anchor="ls")
        for value in self._ticks:
            _, y = self.place((0, value))
            pen.line((left, y, right, y), "gainsboro", _FINER)
            pen.text((left - 8 * _FINER, y), f"{value:g}", "dimgray", font=_font(13), anchor="rm")
        for step in (s for s in self._steps if s <= self._end):
            x, y = self.place((step, self._ticks[0]))
            pen.line((x, y, x, y + 5 * _FINER), "gray", _FINER)
            pen.text((x, y + 10 * _FINER), _short(step), "dimgray", font=_font(13), anchor="ma")
        if boundary is not None:
            x, y = self.place((boundary, self._ticks[0]))
            pen.line((x, _TOP * _FINER, x, y), _GRAY, _FINER)
            pen.text((x + 4 * _FINER, y - 4 * _FINER), "adversarial phase", _GRAY, font=_font(12), anchor="ls")


def _short(step: float) -> str:
    return f"{step / 1e6:g}M" if step >= 1e6 else f"{step / 1e3:g}k" if step >= 10_000 else f"{step:g}"


def _polyline(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], color: str, dashed: bool) -> None:
    """Draw a curve; a single point is drawn as a dot, and a reference as a dashed line over the whole width."""
    if dashed:
        y = points[-1][1]
        for x in range(_LEFT * _FINER, _RIGHT * _FINER, 12 * _FINER):
            pen.line((x, y, x + 6 * _FINER, y), color, 2 * _FINER)
        return
    for x, y in points if len(points) < 20 else []:
        pen.ellipse((x - 3 * _FINER, y - 3 * _FINER, x + 3 * _FINER, y + 3 * _FINER), fill=color)
    pen.line(points, color, 2 * _FINER, joint="curve")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _FINER)
