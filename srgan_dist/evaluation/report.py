"""The comparison page: one self-contained HTML file that works offline."""

import base64
import io
import json
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from srgan_dist.evaluation.curves import Curve, draw_curves, legend
from srgan_dist.evaluation.figure import Square, best_square
from srgan_dist.evaluation.metrics import Scores, luma, psnr
from srgan_dist.evaluation.results import HEADINGS, Evaluation
from srgan_dist.imaging.images import Pixels

_CROP, _CROPS, _ZOOM = 64, 3, 3
_HEAT = np.array([[0, 0, 0], [70, 20, 110], [190, 50, 80], [250, 150, 30], [255, 255, 200]], float)
_FULL_HEAT = 32.0
"""Difference in luma, in 8-bit levels, from which on the brightest color is shown."""


@dataclass(frozen=True)
class ImageComparison:
    """An image and its results by every method, (H, W, 3) uint8 RGB."""

    name: str
    lr: Pixels
    """LR, at HR size by pixel repetition."""
    hr: Pixels
    results: dict[str, Pixels]
    """SR by method."""
    trained: list[str]
    """The methods that are models."""
    psnr_y: dict[str, float] = field(default_factory=dict)
    """PSNR-Y of the complete image in dB, by method, as in the table."""

    def columns(self) -> dict[str, Pixels]:
        """Return all images to show by name: LR (unless nearest shows the same), the results, and HR."""
        lr = {} if "nearest" in self.results else {"LR": self.lr}
        return lr | self.results | {"HR": self.hr}

    def difference(self) -> np.ndarray:
        """Return the range of the models' luma per pixel, (H, W).

        A single model is compared with the first method, or with HR if there is no other method.
        """
        images = [self.results[name] for name in self.trained]
        if len(images) < 2:
            images += [self.results[name] for name in self.results if name not in self.trained][:1] or [self.hr]
        planes = np.stack([luma(image) for image in images])
        return planes.max(0) - planes.min(0)


@dataclass(frozen=True)
class Report:
    """The content of the page."""

    title: str
    subtitle: str
    evaluation: Evaluation
    comparisons: list[ImageComparison]
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    """Training curves by run and metric."""
    models: list[list[str]] = field(default_factory=list)
    """Table of the models, header row first."""
    differences: list[list[str]] = field(default_factory=list)
    """Table of the fields in which the configurations differ, header row first; empty for a single run."""

    def html(self) -> str:
        """Return the page as HTML."""
        shown = {str(i): _images(e) for i, e in enumerate(self.comparisons)}
        content = {
            "title": escape(self.title),
            "subtitle": escape(self.subtitle),
            "table": _quality_table(self.evaluation) + _image_table(self.evaluation),
            "models": _table("models", self.models),
            "comparisons": "\n".join(_comparison_card(i, e) for i, e in enumerate(self.comparisons)),
            "curves": _curves(self.curves),
            "configuration": _configuration(self.differences),
            "shown": json.dumps(shown).replace("</", "<\\/"),
        }
        page = files("srgan_dist.evaluation").joinpath("report.html").read_text("utf-8")
        for name, part in content.items():
            page = page.replace("{{" + name + "}}", part)
        return page


def _images(comparison: ImageComparison) -> dict[str, dict[str, str]]:
    tags = {name: f"{name} · {value:.2f} dB" for name, value in comparison.psnr_y.items()}
    return {n: {"src": _data_uri(image), "tag": tags.get(n, n)} for n, image in comparison.columns().items()}


def _data_uri(image: Pixels, lossless: bool = True) -> str:
    out = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "method": 4} if lossless else {"quality": 80}
    Image.fromarray(image).save(out, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _quality_table(evaluation: Evaluation) -> str:
    means = evaluation.means()
    columns = list(next(iter(means.values())))
    best = {c: (max if c.startswith(("psnr", "ssim")) else min)(m[c] for m in means.values()) for c in columns}
    head = "".join(f"<th>{HEADINGS.get(c, c)}</th>" for c in columns) + "<th>vs bicubic</th>" * ("bicubic" in means)
    rows = [
        f"<tr><td>{escape(method)}</td>"
        + "".join(_number(c, scores[c], scores[c] == best[c]) for c in columns)
        + (f"<td>{scores['psnr_y'] - means['bicubic']['psnr_y']:+.2f} dB</td>" if "bicubic" in means else "")
        + "</tr>"
        for method, scores in means.items()
    ]
    note = f"means over images; protocols: {', '.join(evaluation.protocols().values())}"
    return (
        f'<table id="quality"><tr><th>method</th>{head}</tr>{"".join(rows)}</table><p class="soft">{escape(note)}</p>'
    )


def _image_table(evaluation: Evaluation) -> str:
    """Return a collapsed table of the PSNR-Y and SSIM-Y of every image by every method."""
    methods = list(evaluation.means())
    images: dict[str, dict[str, Scores]] = {}
    for row in evaluation.rows:
        images.setdefault(row.image, {})[row.method] = row.scores
    lines = "".join(
        f"<tr><td>{escape(name)}</td>{_scores_of_image(found, methods)}</tr>" for name, found in images.items()
    )
    head = "".join(f"<th>{escape(m)}</th>" for m in methods)
    title = f"Scores of every image: {HEADINGS['psnr_y']} and {HEADINGS['ssim_y']}"
    return (
        f'<details><summary>{title}</summary><table id="images"><tr><th>image</th>{head}</tr>{lines}</table></details>'
    )


def _scores_of_image(found: dict[str, Scores], methods: list[str]) -> str:
    best = max(found[m]["psnr_y"] for m in methods)
    cells = [(f"{found[m]['psnr_y']:.2f} · {found[m]['ssim_y']:.4f}", found[m]["psnr_y"] == best) for m in methods]
    return "".join(f'<td class="best">{text}</td>' if wins else f"<td>{text}</td>" for text, wins in cells)


def _number(column: str, value: float, best: bool) -> str:
    shown = f"{value:.2f}" if column.startswith("psnr") or column == "niqe" else f"{value:.4f}"
    return f'<td class="best">{shown}</td>' if best else f"<td>{shown}</td>"


def _comparison_card(number: int, comparison: ImageComparison) -> str:
    names = list(comparison.columns())
    left = "bicubic" if "bicubic" in comparison.results else names[1]
    right = comparison.trained[-1] if comparison.trained else "HR"
    width = comparison.hr.shape[1]
    return f"""<section class="card" data-comparison="{number}">
<div class="bar"><h3>{escape(comparison.name)}</h3>
<label>left <select class="left">{_options(names, left)}</select></label>
<label>right <select class="right">{_options(names, right)}</select></label>
<label>zoom <select class="zoom">{_options(["fit", "1", "2", "4"], "fit")}</select></label>
</div>
<div class="window"><div class="stage" data-width="{width}">
<img class="left" alt="left"><img class="right" alt="right">
<input type="range" min="0" max="100" value="50" step="0.5" aria-label="boundary between left and right">
<span class="edge"></span><span class="tag left"></span><span class="tag right"></span>
</div></div>
{_crops(comparison)}
<details open><summary>Error in luma against the original; brightest at {_FULL_HEAT:.0f} of 255 levels</summary>
<div class="grid">{_maps(comparison)}</div></details>
</section>"""


def _options(names: list[str], chosen: str) -> str:
    return "".join(f"<option{' selected' if n == chosen else ''}>{escape(n)}</option>" for n in names)


def _crops(comparison: ImageComparison) -> str:
    """Return the squares in which the models differ most, one row each."""
    weights, rows = comparison.difference().copy(), []
    for _ in range(_CROPS):
        square = best_square(weights, _CROP, step=8)
        if weights[square.window].sum() == 0:
            break
        weights[square.window] = 0  # the next square lies elsewhere
        rows.append(f'<div class="row">{_row(comparison, square)}</div>')
    return "\n".join(rows)


def _row(comparison: ImageComparison, square: Square) -> str:
    original = square.cut(comparison.hr)
    figures: list[str] = []
    for name, image in comparison.columns().items():
        cut = square.cut(image)
        quality = "" if name in ("LR", "HR") else f" · {psnr(luma(cut), luma(original)):.2f} dB"
        zoomed = np.repeat(np.repeat(cut, _ZOOM, 0), _ZOOM, 1)
        figures.append(f'<figure><img src="{_data_uri(zoomed)}" alt="">{_caption(name + quality)}</figure>')
    return "".join(figures)


def _maps(comparison: ImageComparison) -> str:
    original = luma(comparison.hr)
    maps = [
        _map(f"{name} against HR", np.abs(luma(image) - original), _FULL_HEAT)
        for name, image in comparison.results.items()
    ]
    if len(comparison.trained) > 1:  # they are often similar, so their map has a scale of its own
        between = comparison.difference()
        full = max(1.0, float(np.percentile(between, 99.9)))
        maps.append(_map(f"difference between the models; brightest at {full:.1f}", between, full))
    return "".join(maps)


def _map(name: str, levels: np.ndarray, full: float) -> str:
    image = _data_uri(_heat(levels, full), lossless=False)
    return f'<figure><img src="{image}" alt="">{_caption(f"{name} · mean {levels.mean():.2f} levels")}</figure>'


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>"


def _heat(levels: np.ndarray, full: float) -> Pixels:
    """Return luma differences (H, W) as colors (H, W, 3), from black at 0 to the brightest color at `full` levels."""
    position = levels.clip(0, full) / full * (len(_HEAT) - 1)
    channels = [np.interp(position, np.arange(len(_HEAT)), _HEAT[:, c]) for c in range(3)]
    return np.stack(channels, axis=2).round().astype(np.uint8)


def _curves(curves: dict[str, dict[str, Curve]]) -> str:
    shown = {run: c for run, c in curves.items() if c}
    if not shown:
        return ""
    charts = draw_curves(shown)
    return f'<h2>Training</h2><div class="card"><p>{legend(list(shown))}</p><div class="curves">{charts}</div></div>'


def _configuration(rows: list[list[str]]) -> str:
    if not rows:
        return ""
    table = _table("configuration", rows if len(rows) > 1 else [*rows, ["no differences"]])
    return f'<h2>Configuration differences</h2><div class="card wide">{table}</div>'


def _table(name: str, rows: list[list[str]]) -> str:
    """Return an HTML table of rows of text, header row first; an empty string if there are no rows."""
    if not rows:
        return ""
    head, *body = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    lines = "".join(f"<tr>{line}</tr>" for line in body)
    return f'<table id="{name}" class="text"><tr>{head.replace("td>", "th>")}</tr>{lines}</table>'
