"""The comparison page: one HTML file with everything in it, which opens without a network."""

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
"""Levels of luma from HR that are shown in the hottest color."""


@dataclass(frozen=True)
class ImageComparison:
    """One image by every method."""

    name: str
    lr: Pixels
    """At HR size, by pixel repetition."""
    hr: Pixels
    results: dict[str, Pixels]
    trained: list[str]
    """The methods that are models."""
    psnr_y: dict[str, float] = field(default_factory=dict)
    """The whole image's, by method, as in the table."""

    def columns(self) -> dict[str, Pixels]:
        """Everything to look at, LR left out where nearest shows the same."""
        lr = {} if "nearest" in self.results else {"LR": self.lr}
        return lr | self.results | {"HR": self.hr}

    def difference(self) -> np.ndarray:
        """(H, W): in luma, how far the models are apart; one model is compared with the first method."""
        names = self.trained if len(self.trained) > 1 else [*self.trained, next(iter(self.results))]
        planes = np.stack([luma(self.results[n]) for n in names])
        return planes.max(0) - planes.min(0)


@dataclass(frozen=True)
class Report:
    """What the page shows."""

    title: str
    subtitle: str
    evaluation: Evaluation
    comparisons: list[ImageComparison]
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    """Per run."""
    models: list[list[str]] = field(default_factory=list)
    """Rows that say what each model is, their heading first."""
    differences: list[list[str]] = field(default_factory=list)
    """Rows of the configuration table, its heading first."""

    def html(self) -> str:
        """The page."""
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
    told = {name: f"{name} · {value:.2f} dB" for name, value in comparison.psnr_y.items()}
    return {n: {"src": _data_uri(image), "tag": told.get(n, n)} for n, image in comparison.columns().items()}


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
    note = f"mean over images; protocols: {', '.join(evaluation.protocols().values())}"
    return (
        f'<table id="quality"><tr><th>method</th>{head}</tr>{"".join(rows)}</table><p class="soft">{escape(note)}</p>'
    )


def _image_table(evaluation: Evaluation) -> str:
    """PSNR-Y and SSIM-Y of every image by every method, folded up."""
    methods = list(evaluation.means())
    images: dict[str, dict[str, Scores]] = {}
    for row in evaluation.rows:
        images.setdefault(row.image, {})[row.method] = row.scores
    lines = "".join(f"<tr><td>{escape(name)}</td>{_of_image(found, methods)}</tr>" for name, found in images.items())
    head = "".join(f"<th>{escape(m)}</th>" for m in methods)
    title = f"Every image: {HEADINGS['psnr_y']} and {HEADINGS['ssim_y']}"
    return (
        f'<details><summary>{title}</summary><table id="images"><tr><th>image</th>{head}</tr>{lines}</table></details>'
    )


def _of_image(found: dict[str, Scores], methods: list[str]) -> str:
    best = max(found[m]["psnr_y"] for m in methods)
    cells = [(f"{found[m]['psnr_y']:.2f} · {found[m]['ssim_y']:.4f}", found[m]["psnr_y"] == best) for m in methods]
    return "".join(f'<td class="best">{told}</td>' if wins else f"<td>{told}</td>" for told, wins in cells)


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
<input type="range" min="0" max="100" value="50" step="0.5" aria-label="where left ends and right begins">
<span class="edge"></span><span class="tag left"></span><span class="tag right"></span>
</div></div>
{_crops(comparison)}
<details open><summary>Distance from the original in luma, brightest at {_FULL_HEAT:.0f} of 255 levels</summary>
<div class="grid">{_maps(comparison)}</div></details>
</section>"""


def _options(names: list[str], chosen: str) -> str:
    return "".join(f"<option{' selected' if n == chosen else ''}>{escape(n)}</option>" for n in names)


def _crops(comparison: ImageComparison) -> str:
    """The squares where the models differ most, a row each."""
    weights, rows = comparison.difference().copy(), []
    for _ in range(_CROPS):
        square = best_square(weights, _CROP, step=8)
        if weights[square.window].sum() == 0:
            break
        weights[square.window] = 0  # the next one lies elsewhere
        rows.append(f'<div class="row">{_row(comparison, square)}</div>')
    return "\n".join(rows)


def _row(comparison: ImageComparison, square: Square) -> str:
    original = square.cut(comparison.hr)
    figures: list[str] = []
    for name, image in comparison.columns().items():
        cut = square.cut(image)
        told = "" if name in ("LR", "HR") else f" · {psnr(luma(cut), luma(original)):.2f} dB"
        zoomed = np.repeat(np.repeat(cut, _ZOOM, 0), _ZOOM, 1)
        figures.append(f'<figure><img src="{_data_uri(zoomed)}" alt="">{_caption(name + told)}</figure>')
    return "".join(figures)


def _maps(comparison: ImageComparison) -> str:
    original = luma(comparison.hr)
    maps = [
        _map(f"{name} against HR", np.abs(luma(image) - original), _FULL_HEAT)
        for name, image in comparison.results.items()
    ]
    if len(comparison.trained) > 1:  # often close together, so on a scale of their own
        between = comparison.difference()
        full = max(1.0, float(np.percentile(between, 99.9)))
        maps.append(_map(f"between the models, brightest at {full:.1f}", between, full))
    return "".join(maps)


def _map(name: str, levels: np.ndarray, full: float) -> str:
    image = _data_uri(_heat(levels, full), lossless=False)
    return f'<figure><img src="{image}" alt="">{_caption(f"{name} · mean {levels.mean():.2f} levels")}</figure>'


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>"


def _heat(levels: np.ndarray, full: float) -> Pixels:
    """(H, W) levels of luma as colors, black where there is no difference, the hottest one from `full` on."""
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
    table = _table("configuration", rows if len(rows) > 1 else [*rows, ["no field differs"]])
    return f'<h2>What differs in the configurations</h2><div class="card wide">{table}</div>'


def _table(name: str, rows: list[list[str]]) -> str:
    """Rows of text, the heading first; nothing where there are none."""
    if not rows:
        return ""
    head, *body = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    lines = "".join(f"<tr>{line}</tr>" for line in body)
    return f'<table id="{name}" class="text"><tr>{head.replace("td>", "th>")}</tr>{lines}</table>'
