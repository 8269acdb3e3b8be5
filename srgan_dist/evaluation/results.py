"""Results of an evaluation: scores per image and their means, as Markdown, CSV and JSON."""

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgan_dist.evaluation.metrics import Scores, protocol
from srgan_dist.evaluation.published_results import published
from srgan_dist.utils.terminal import printable

HEADINGS = {
    "psnr_y": "PSNR-Y dB",
    "ssim_y": "SSIM-Y",
    "psnr_rgb": "PSNR-RGB dB",
    "lpips": "LPIPS ↓",
    "dists": "DISTS ↓",
    "niqe": "NIQE ↓",
}
"""Column headings in tables."""


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

    def means(self) -> dict[str, Scores]:
        """Return each method's scores, averaged over images."""
        means: dict[str, Scores] = {}
        for method in dict.fromkeys(r.method for r in self.rows):
            own = [r.scores for r in self.rows if r.method == method]
            means[method] = {name: float(np.mean([s[name] for s in own])) for name in own[0]}
        return means

    def protocols(self) -> dict[str, str]:
        """Return the name of each column's protocol; see `metrics.protocol`."""
        return {name: protocol(name, self.scale) for name in self.rows[0].scores}

    def to_json(self) -> dict[str, Any]:
        """Return JSON values in the format that the README documents."""
        return {
            "protocol": protocol("psnr_y", self.scale),
            "protocols": self.protocols(),
            "rows": [_finite(r.flat()) for r in self.rows],
            "means": {method: _finite(scores) for method, scores in self.means().items()},
        }

    def to_csv(self) -> str:
        """Return CSV with a header and one line per image and method."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.rows[0].flat()), lineterminator="\n")
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
        means, names = self.means(), list(self.rows[0].scores)
        images = len(self.rows) // len(means)  # two images may have the same name
        lines = [
            " | ".join([f"| {images} images", *(HEADINGS[n] for n in names), "vs bicubic |"]),
            "|:--|" + "--:|" * (len(names) + 1),
        ]
        lines += [self._line(method, scores, means.get("bicubic")) for method, scores in means.items()]
        notes = [f"protocols: {', '.join(self.protocols().values())}"]
        if with_published:
            published_rows, remarks = published(self.rows[0].data, self.scale)
            lines += [
                self._line(name, scores | {n: math.nan for n in names if n not in scores}, None)
                for name, scores in published_rows
            ]
            notes += remarks
        return "\n".join([*lines, "", *notes])

    def _line(self, method: str, scores: Scores, base: Scores | None) -> str:
        values = [format_score(name, scores[name]) for name in self.rows[0].scores]
        gain = f"{scores['psnr_y'] - base['psnr_y']:+.2f} dB" if base else ""
        return f"| {_cell(method)} | {' | '.join(values)} | {gain} |"


def read_evaluation(run: Path, scale: int) -> Evaluation | None:
    """Read the evaluation in a run's `evaluation.json`, or return None if there is no such file."""
    file = run / "evaluation.json"
    if not file.is_file():
        return None
    rows: list[Row] = []
    for row in json.loads(file.read_text())["rows"]:
        scores = {n: math.inf if v is None else v for n, v in row.items() if n not in ("data", "image", "method")}
        rows.append(Row(row["data"], row["image"], row["method"], scores))
    return Evaluation(scale, rows)


def _cell(name: str) -> str:
    """Return a name from outside such that it stays within its cell of a Markdown table."""
    return printable(name).replace("|", "\\|")


def format_score(name: str, value: float) -> str:
    """Return a score as text, with as many digits as its metric has meaning; empty if there is none."""
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if name.startswith("psnr") or name == "niqe" else f"{value:.4f}"


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Replace non-finite values by None: JSON has no infinity, which is the PSNR of equal images."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
