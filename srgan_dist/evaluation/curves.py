"""Training curves of runs as SVG charts."""

import json
from collections import defaultdict
from html import escape
from pathlib import Path

from srgan_dist.runs.metric_names import DISCRIMINATOR, NIQE, NIQE_BICUBIC, NIQE_HR, PSNR, PSNR_BICUBIC, TERMS
from srgan_dist.utils.renamed import current_name
from srgan_dist.utils.terminal import printable

COLORS = ("#0b66c3", "#d1495b", "#2a9d64", "#b7791f", "#7a4fbf", "#0e9aa7", "#c2487f", "#6b7280")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 210, 58, 354, 30, 184
_MAX_POINTS = 400

Curve = list[tuple[float, float]]
"""Points (step, value)."""

_CHARTS = {
    "losses": {name.rpartition("/")[2]: name for name in (*TERMS, DISCRIMINATOR)},
    "PSNR-Y in dB, higher is closer": {"generator": PSNR, "bicubic": PSNR_BICUBIC},
    "NIQE, lower is more natural": {"generator": NIQE, "bicubic": NIQE_BICUBIC, "HR": NIQE_HR},
}
"""Metrics of the main charts by their labels."""


def read_curves(run: Path) -> dict[str, Curve]:
    """Return the curves in a run's `metrics.jsonl` by metric, without non-finite values; empty if there is no file."""
    curves: dict[str, Curve] = defaultdict(list)
    file = run / "metrics.jsonl"
    for line in file.read_text("utf-8").splitlines() if file.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line that is still being written, or was cut off when the run was killed
        if not isinstance(entry, dict) or not _is_number(entry.get("step")):
            continue
        for name, value in entry.items():
            if "/" in name and _is_number(value):
                curves[current_name(name)].append((entry["step"], value))
    return dict(curves)


def read_main_curves(run: Path) -> dict[str, dict[str, Curve]]:
    """Return the curves of a run that matter most, by chart and label: losses, PSNR-Y and NIQE beside bicubic's.

    Losses are unweighted. Curves and charts that the run did not record are missing, as are terms that were always 0.
    """
    recorded = {name: curve for name, curve in read_curves(run).items() if any(value for _, value in curve)}
    charts = {
        title: {label: recorded[name] for label, name in names.items() if name in recorded}
        for title, names in _CHARTS.items()
    }
    return {title: curves for title, curves in charts.items() if curves}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300  # also finite


def draw_curves(runs: dict[str, dict[str, Curve]]) -> str:
    """Return one SVG chart per metric that at least one run has, with validation metrics first."""
    names = sorted({name for curves in runs.values() for name in curves}, key=lambda n: (not n.startswith("valid"), n))
    return "\n".join(_chart(name, {run: curves.get(name, []) for run, curves in runs.items()}) for name in names)


def _chart(name: str, curves: dict[str, Curve]) -> str:
    points = [p for curve in curves.values() for p in curve]
    x0, x1 = _range([x for x, _ in points])
    y0, y1 = _range([y for _, y in points])
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(name)}">',
        f'<text class="title" x="{_LEFT}" y="16">{_text(name)}</text>',
        *(_grid_line(y0 + (y1 - y0) * i / 3, _BOTTOM - (_BOTTOM - _TOP) * i / 3) for i in range(4)),
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{x0:.0f}</text>',
        f'<text x="{_RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">step {x1:.0f}</text>',
    ]
    for color, (run, curve) in zip(_cycle(len(curves)), curves.items(), strict=True):
        thinned = curve[:: len(curve) // _MAX_POINTS + 1]
        fractions = [((x - x0) / (x1 - x0), (y - y0) / (y1 - y0)) for x, y in thinned]
        positions = [
            (f"{_LEFT + (_RIGHT - _LEFT) * x:.1f}", f"{_BOTTOM - (_BOTTOM - _TOP) * y:.1f}") for x, y in fractions
        ]
        path = " ".join(f"{x},{y}" for x, y in positions)
        if len(positions) == 1:  # a polyline of one point is invisible
            parts.append(f'<circle cx="{positions[0][0]}" cy="{positions[0][1]}" r="3" fill="{color}"/>')
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8">')
        parts.append(f"<title>{_text(run)}</title></polyline>")
    return "\n".join([*parts, "</svg>"])


def _grid_line(value: float, y: float) -> str:
    line = f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'


def legend(runs: list[str]) -> str:
    """Return HTML that shows the color of each run."""
    dots = (f'<span style="color:{c}">●</span> {_text(r)}' for c, r in zip(_cycle(len(runs)), runs, strict=True))
    return "&emsp;".join(dots)


def _text(name: str) -> str:
    return escape(printable(name))


def _cycle(count: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
