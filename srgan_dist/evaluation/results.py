"""The numbers of a comparison: per image and as means, for people, spreadsheets and programs."""

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

HEADINGS = {
    "psnr_y": "PSNR-Y dB",
    "ssim_y": "SSIM-Y",
    "psnr_rgb": "PSNR-RGB dB",
    "lpips": "LPIPS ↓",
    "dists": "DISTS ↓",
    "niqe": "NIQE ↓",
}


@dataclass(frozen=True)
class Row:
    """What one method scores on one image."""

    data: str
    image: str
    method: str
    scores: Scores

    def flat(self) -> dict[str, Any]:
        """As one level of columns."""
        return {"data": self.data, "image": self.image, "method": self.method} | self.scores


@dataclass(frozen=True)
class Evaluation:
    """All numbers, under their protocols' names."""

    scale: int
    rows: list[Row]

    def means(self) -> dict[str, Scores]:
        """Per method, the means over images of the per-image values."""
        means: dict[str, Scores] = {}
        for method in dict.fromkeys(r.method for r in self.rows):
            mine = [r.scores for r in self.rows if r.method == method]
            means[method] = {name: float(np.mean([s[name] for s in mine])) for name in mine[0]}
        return means

    def protocols(self) -> dict[str, str]:
        """The name of each column's protocol, which says how it is measured."""
        return {name: protocol(name, self.scale) for name in self.rows[0].scores}

    def to_json(self) -> dict[str, Any]:
        """As the README documents it."""
        return {
            "protocol": protocol("psnr_y", self.scale),
            "protocols": self.protocols(),
            "rows": [_finite(r.flat()) for r in self.rows],
            "means": {method: _finite(scores) for method, scores in self.means().items()},
        }

    def to_csv(self) -> str:
        """A line per image and method."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.rows[0].flat()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(r.flat() for r in self.rows)
        return out.getvalue()

    def table(self, with_published: bool = False) -> str:
        """Markdown: a row per method with its means over images, and what it gains over bicubic."""
        means, names = self.means(), list(self.rows[0].scores)
        images = len({(r.data, r.image) for r in self.rows})
        lines = [
            " | ".join([f"| {images} images", *(HEADINGS[n] for n in names), "vs bicubic |"]),
            "|:--|" + "--:|" * (len(names) + 1),
        ]
        lines += [self._line(method, scores, means.get("bicubic")) for method, scores in means.items()]
        notes = [f"protocols: {', '.join(self.protocols().values())}"]
        if with_published:
            rows, remarks = published(self.rows[0].data, self.scale)
            lines += [
                self._line(name, scores | {n: math.nan for n in names if n not in scores}, None)
                for name, scores in rows
            ]
            notes += remarks
        return "\n".join([*lines, "", *notes])

    def _line(self, method: str, scores: Scores, base: Scores | None) -> str:
        values = [_shown(name, scores[name]) for name in self.rows[0].scores]
        gain = f"{scores['psnr_y'] - base['psnr_y']:+.2f} dB" if base else ""
        return f"| {method} | {' | '.join(values)} | {gain} |"


def read_evaluation(run: Path, scale: int) -> Evaluation | None:
    """Read the numbers that a run has left in `evaluation.json`; None where there are none."""
    file = run / "evaluation.json"
    if not file.is_file():
        return None
    rows: list[Row] = []
    for row in json.loads(file.read_text())["rows"]:
        scores = {n: math.inf if v is None else v for n, v in row.items() if n not in ("data", "image", "method")}
        rows.append(Row(row["data"], row["image"], row["method"], scores))
    return Evaluation(scale, rows)


def _shown(name: str, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if name.startswith("psnr") or name == "niqe" else f"{value:.4f}"


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity, which is the PSNR of equal images."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
