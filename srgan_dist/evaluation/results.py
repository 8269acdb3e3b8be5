"""Results of an evaluation: scores per image and their means, as Markdown, CSV and JSON."""

import csv
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srgan_dist.evaluation.metrics import Scores, protocol
from srgan_dist.evaluation.naturalness import TRADE_OFF
from srgan_dist.evaluation.published_results import published
from srgan_dist.utils.terminal import printable

HEADINGS = {
    "psnr_y": "PSNR-Y dB",
    "ssim_y": "SSIM-Y",
    "psnr_rgb": "PSNR-RGB dB",
    "gradient_energy": "gradient energy",
    "grid_ratio": "grid ratio",
    "niqe": "NIQE ↓",
    "lpips": "LPIPS ↓",
    "dists": "DISTS ↓",
    "topiq": "TOPIQ ↑",
}
"""Column headings in tables."""
_DIGITS = {"psnr_y": 2, "psnr_rgb": 2, "niqe": 2, "gradient_energy": 2, "grid_ratio": 2}
"""Digits after the point that a score is printed with."""


@dataclass(frozen=True)
class Row:
    """The scores of one method on one image."""

    data: str
    image: str
    method: str
    scores: Scores

    def flat(self) -> dict[str, Any]:
        """Return all columns in one dictionary."""
        return {"data": self.data, "image": self.image, "method": self.method} | self.scores


@dataclass(frozen=True)
class Evaluation:
    """The scores of every method on every image, at one scale."""

    scale: int
    rows: list[Row]
    originals: list[Row] = field(default_factory=list)
    """Scores of the HR images themselves, in columns that need no reference."""

    def columns(self) -> list[str]:
        """Return the names of all scores, in order of appearance; an image may lack some."""
        return list(dict.fromkeys(name for row in self.rows for name in row.scores))

    def means(self) -> dict[str, Scores]:
        """Return each method's scores, averaged over the images that have them; NaN where none has."""
        methods = dict.fromkeys(r.method for r in self.rows)
        return {method: self._mean([r for r in self.rows if r.method == method]) for method in methods}

    def original_means(self) -> Scores:
        """Return the scores of the HR images, averaged over those that have them; NaN where none has."""
        return self._mean(self.originals)

    def _mean(self, rows: list[Row]) -> Scores:
        found = {name: [r.scores[name] for r in rows if name in r.scores] for name in self.columns()}
        return {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}

    def protocols(self) -> dict[str, str]:
        """Return the name of each column's protocol; see `metrics.protocol`."""
        return {name: protocol(name, self.scale) for name in self.columns()}

    def to_json(self) -> dict[str, Any]:
        """Return JSON values in the format that docs/how-to/evaluate.md documents."""
        return {
            "protocol": protocol("psnr_y", self.scale),
            "protocols": self.protocols(),
            "rows": [_finite(r.flat()) for r in self.rows],
            "means": {method: _finite(_present(scores)) for method, scores in self.means().items()},
        } | ({"originals": [r.flat() for r in self.originals]} if self.originals else {})

    def to_csv(self) -> str:
        """Return CSV with a header and one line per image and method."""
        out = io.StringIO()
        writer = csv.DictWriter(out, ["data", "image", "method", *self.columns()], lineterminator="\n")
        writer.writeheader()
        writer.writerows(r.flat() for r in self.rows)
        return out.getvalue()

    def table(self, with_published: bool = False) -> str:
        """Return a Markdown table of each method's mean scores and its gain in PSNR-Y over bicubic.

        Args:
            with_published: Append the results that the papers report.

        Raises:
            ValueError: If the papers report no results for this data set and scale.
        """
        means, names = self.means(), self.columns()
        images = len(self.rows) // len(means)  # two images may have the same name
        lines = [
            " | ".join([f"| {images} images", *(HEADINGS[n] for n in names), "vs bicubic |"]),
            "|:--|" + "--:|" * (len(names) + 1),
        ]
        lines += [self._line(method, scores, means.get("bicubic")) for method, scores in means.items()]
        if self.originals:
            lines.append(self._line("HR", self.original_means(), None))
        notes = [f"protocols: {', '.join(self.protocols().values())}", *self.notes()]
        if with_published:
            published_rows, remarks = published(self.rows[0].data, self.scale)
            lines += [
                self._line(name, scores | {n: math.nan for n in names if n not in scores}, None)
                for name, scores in published_rows
            ]
            notes += remarks
        return "\n".join([*lines, "", *notes])

    def notes(self) -> list[str]:
        """Return sentences that explain the columns of the table."""
        if "gradient_energy" not in self.columns():
            return []
        images = [r for r in self.rows if r.method == self.rows[0].method]
        rated = sum("niqe" in r.scores for r in images)
        few = f"NIQE is the mean of {rated} of {len(images)} images; the others are too small."
        return [TRADE_OFF, *([few] if rated < len(images) else [])]

    def _line(self, method: str, scores: Scores, base: Scores | None) -> str:
        values = [format_score(name, scores[name]) for name in self.columns()]
        gain = f"{scores['psnr_y'] - base['psnr_y']:+.2f} dB" if base else ""
        return f"| {_cell(method)} | {' | '.join(values)} | {gain} |"


def read_evaluation(run: Path, scale: int) -> Evaluation | None:
    """Read the evaluation in a run's `evaluation.json`, or return None if there is no such file."""
    file = run / "evaluation.json"
    if not file.is_file():
        return None
    rows: list[Row] = []
    content = json.loads(file.read_text())
    for row in [*content["rows"], *content.get("originals", [])]:
        scores = {n: math.inf if v is None else v for n, v in row.items() if n not in ("data", "image", "method")}
        rows.append(Row(row["data"], row["image"], row["method"], scores))
    count = len(content["rows"])
    return Evaluation(scale, rows[:count], rows[count:])


def _cell(name: str) -> str:
    """Return a name from outside such that it stays within its cell of a Markdown table."""
    return printable(name).replace("|", "\\|")


def format_score(name: str, value: float) -> str:
    """Return a score as text, with as many digits as its metric has meaning; empty if there is none."""
    if math.isnan(value):
        return ""
    return f"{value:.{_DIGITS.get(name, 4)}f}"


def _present(scores: Scores) -> Scores:
    return {name: value for name, value in scores.items() if not math.isnan(value)}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Replace non-finite values by None: JSON has no infinity, which is the PSNR of equal images."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
