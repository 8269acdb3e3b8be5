"""The comparison page: one HTML file that works offline and runs nothing but its own script.

Names come from model files, folders and configurations of strangers. The template escapes whatever is put into it, rows
and options are numbered instead of named, and the page's policy allows no other script and no request.
"""

import base64
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from srgan_dist.evaluation.curves import Curve, draw_curves, legend
from srgan_dist.evaluation.figure import Square, best_square
from srgan_dist.evaluation.metrics import Scores, luma, psnr
from srgan_dist.evaluation.page_images import PageImages, remove_images
from srgan_dist.evaluation.results import HEADINGS, Evaluation, format_score
from srgan_dist.imaging.images import Pixels
from srgan_dist.utils.files import write_text
from srgan_dist.utils.terminal import printable

_CROP, _CROPS = 64, 3
_HEAT = np.array([[0, 0, 0], [70, 20, 110], [190, 50, 80], [250, 150, 30], [255, 255, 200]], float)
_FULL_HEAT = 32.0
"""Difference in luma, in 8-bit levels, from which on the brightest color is shown."""


class Column(NamedTuple):
    """One version of an image: LR, HR, or the result of a method."""

    name: str
    image: Pixels
    is_result: bool
    tag: str
    """Text on the image: the name, and the PSNR-Y of the complete image."""


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

    def columns(self) -> list[Column]:
        """Return all versions to show: LR (unless nearest shows the same), the results, and HR."""
        lr = [] if "nearest" in self.results else [Column("LR", self.lr, False, "LR")]
        results = [Column(name, image, True, self._tag(name)) for name, image in self.results.items()]
        return [*lr, *results, Column("HR", self.hr, False, "HR")]

    def _tag(self, name: str) -> str:
        return f"{name} · {self.psnr_y[name]:.2f} dB" if name in self.psnr_y else name

    def difference(self) -> np.ndarray:
        """Return the range of the models' luma per pixel, (H, W).

        A single model is compared with the first method, or with HR if there is no other method.
        """
        images = [self.results[name] for name in self.trained]
        if len(images) < 2:
            images += [self.results[name] for name in self.results if name not in self.trained][:1] or [self.hr]
        planes = np.stack([luma(image) for image in images])
        return planes.max(0) - planes.min(0)


class Figure(NamedTuple):
    """A further image on the page, such as a plot."""

    caption: str
    image: Pixels


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
    figures: list[Figure] = field(default_factory=list)
    """Further images, shown below the scores."""

    def html(self) -> str:
        """Return the page as HTML with all images inside, whatever its size."""
        images = PageImages()
        content = self._content(images)
        return _render(content, images.inline())

    def write(self, file: Path) -> Path | None:
        """Write the page; if it would be larger than `INLINE_MB`, write its images to a folder beside it.

        Returns:
            The folder; None if the images are inside the page.

        Raises:
            OSError: a file cannot be written.
        """
        images, folder = PageImages(), file.with_name(f"{file.stem}-images")
        content = self._content(images)
        names = [] if images.fit_inside else images.write(folder)
        sources = [f"{_address(folder)}/{name}" for name in names] or images.inline()
        write_text(_render(content, sources, beside=bool(names)), file)
        remove_images(folder, names)  # of an earlier page, which is gone now
        return folder if names else None

    def _content(self, images: PageImages) -> dict[str, Any]:
        shown = [c for c in self.curves.values() if c]
        return {
            "title": self.title,
            "subtitle": self.subtitle,
            "quality": _quality(self.evaluation),
            "per_image": _per_image(self.evaluation),
            "figures": [{"caption": f.caption, "image": images.add(f.image)} for f in self.figures],
            "models": self.models,
            "comparisons": [_comparison(c, images) for c in self.comparisons],
            "full_heat": round(_FULL_HEAT),
            "legend": Markup(legend([run for run, c in self.curves.items() if c])),  # these two escape by themselves
            "charts": Markup(draw_curves({run: c for run, c in self.curves.items() if c})) if shown else "",
            "differences": self.differences,
        }


def _render(content: dict[str, Any], sources: list[str], beside: bool = False) -> str:
    folder = files("srgan_dist.evaluation")
    script = folder.joinpath("report.js").read_text("utf-8")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = [
        [{"src": sources[c["image"]], "tag": printable(c["tag"])} for c in one["columns"]]
        for one in content["comparisons"]
    ]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_finalize, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath("report.html").read_text("utf-8"))
    return template.render(
        content, sources=sources, beside=beside, shown=shown, script=Markup(script), script_hash=hashed
    )


def _finalize(value: object) -> object:
    """Make names visible that hold control characters; the template escapes them afterwards."""
    return printable(value) if type(value) is str else value


def _address(folder: Path) -> str:
    return quote(folder.name.encode(errors="surrogateescape"))


def _quality(evaluation: Evaluation) -> dict[str, Any]:
    """Return the table of mean scores: headings, rows of cells, and the protocols."""
    means = evaluation.means()
    columns = evaluation.columns()
    best = {c: _best(c, [scores[c] for scores in means.values()]) for c in columns}
    base = means.get("bicubic")
    rows = [
        {
            "method": method,
            "cells": [{"text": format_score(c, scores[c]), "best": scores[c] == best[c]} for c in columns],
            "gain": f"{scores['psnr_y'] - base['psnr_y']:+.2f} dB" if base else "",
        }
        for method, scores in means.items()
    ]
    if evaluation.originals:
        own = evaluation.original_means()
        cells = [{"text": format_score(c, own[c]), "best": False} for c in columns]
        rows.append({"method": "HR", "cells": cells, "gain": ""})
    protocols = ", ".join(evaluation.protocols().values())
    return {
        "headings": [HEADINGS.get(c, c) for c in columns],
        "rows": rows,
        "gain": bool(base),
        "protocols": protocols,
        "notes": evaluation.notes(),
    }


def _best(column: str, values: list[float]) -> float:
    """Return the best of a column's values; NaN, which equals nothing, if neither more nor less is better."""
    found = [v for v in values if v == v]
    if column.startswith(("psnr", "ssim")) or "↑" in HEADINGS.get(column, ""):
        return max(found, default=math.nan)
    return min(found, default=math.nan) if "↓" in HEADINGS.get(column, "") else math.nan


def _per_image(evaluation: Evaluation) -> dict[str, Any]:
    """Return the table of the PSNR-Y and SSIM-Y of every image by every method."""
    methods = list(evaluation.means())
    rows = [{"name": name, "cells": _scores_of_image(found, methods)} for name, found in _images(evaluation)]
    title = f"Scores of every image: {HEADINGS['psnr_y']} and {HEADINGS['ssim_y']}"
    return {"title": title, "methods": methods, "rows": rows}


def _images(evaluation: Evaluation) -> Iterator[tuple[str, dict[str, Scores]]]:
    """Yield name and scores by method of each image; two images may have the same name."""
    name, found = "", dict[str, Scores]()
    for row in evaluation.rows:
        if found and (row.image != name or row.method in found):
            yield name, found
            found = {}
        name = row.image
        found[row.method] = row.scores
    yield name, found


def _scores_of_image(found: dict[str, Scores], methods: list[str]) -> list[dict[str, Any]]:
    best = max(found[m]["psnr_y"] for m in methods)
    return [
        {"text": f"{found[m]['psnr_y']:.2f} · {found[m]['ssim_y']:.4f}", "best": found[m]["psnr_y"] == best}
        for m in methods
    ]


def _comparison(comparison: ImageComparison, images: PageImages) -> dict[str, Any]:
    columns = comparison.columns()
    names = [c.name for c in columns]
    return {
        "name": comparison.name,
        "width": comparison.hr.shape[1],
        "columns": [{"name": c.name, "tag": c.tag, "image": images.add(c.image)} for c in columns],
        "left": names.index("bicubic") if "bicubic" in comparison.results else 0,
        "right": names.index(comparison.trained[-1]) if comparison.trained else len(names) - 1,
        "crops": [_row(columns, square, comparison.hr, images) for square in _squares(comparison)],
        "maps": list(_maps(comparison, images)),
    }


def _squares(comparison: ImageComparison) -> Iterator[Square]:
    """Yield the squares in which the models differ most."""
    weights = comparison.difference().copy()
    for _ in range(_CROPS):
        square = best_square(weights, _CROP, step=8)
        if weights[square.window].sum() == 0:
            return
        weights[square.window] = 0  # the next square lies elsewhere
        yield square


def _row(columns: list[Column], square: Square, hr: Pixels, images: PageImages) -> list[dict[str, Any]]:
    original, found = luma(square.cut(hr)), list[dict[str, Any]]()
    for column in columns:
        cut = square.cut(column.image)
        quality = f" · {psnr(luma(cut), original):.2f} dB" if column.is_result else ""
        found.append({"caption": column.name + quality, "image": images.add(np.ascontiguousarray(cut))})
    return found


def _maps(comparison: ImageComparison, images: PageImages) -> Iterator[dict[str, Any]]:
    original = luma(comparison.hr)
    for name, image in comparison.results.items():
        yield _map(f"{name} against HR", np.abs(luma(image) - original), _FULL_HEAT, images)
    if len(comparison.trained) > 1:  # they are often similar, so their map has a scale of its own
        between = comparison.difference()
        full = max(1.0, float(np.percentile(between, 99.9)))
        yield _map(f"difference between the models; brightest at {full:.1f}", between, full, images)


def _map(name: str, levels: np.ndarray, full: float, images: PageImages) -> dict[str, Any]:
    image = images.add(_heat(levels, full), lossless=False)
    return {"caption": f"{name} · mean {levels.mean():.2f} levels", "image": image}


def _heat(levels: np.ndarray, full: float) -> Pixels:
    """Return luma differences (H, W) as colors (H, W, 3), from black at 0 to the brightest color at `full` levels."""
    position = levels.clip(0, full) / full * (len(_HEAT) - 1)
    channels = [np.interp(position, np.arange(len(_HEAT)), _HEAT[:, c]) for c in range(3)]
    return np.stack(channels, axis=2).round().astype(np.uint8)
