"""Runs and models side by side: numbers, pictures, curves and configurations on one page."""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from srgan_dist.comparison import best_square
from srgan_dist.config import Positional, flatten, read_run_config, to_dict
from srgan_dist.curves import read_curves
from srgan_dist.data.format import write_text
from srgan_dist.evaluate import INTERPOLATIONS, Method, generator, interpolation, judge, matching_gallery, model_methods
from srgan_dist.evaluation import Evaluation
from srgan_dist.export import Generator
from srgan_dist.foreign import open_generator
from srgan_dist.galleries import Gallery
from srgan_dist.group import Group, Track
from srgan_dist.perceptual import Perceptual, PerceptualMetric
from srgan_dist.report import Exhibit, Report
from srgan_dist.resize import Enlargement

log = logging.getLogger("srgan_dist")

_STEP = 16
_PICTURES, _SIDE = 4, 768
PAGE = "comparison.html"
_PRIVATE = ("run_dir", "tracking.")
"""Fields of a configuration that say nothing about the result."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What stands side by side."""

    runs: Positional[tuple[Path, ...]]
    """Run directories, checkpoints, exported generators, or any .pth or .safetensors that spandrel knows."""

    out: Path
    """The page, one HTML file."""

    data: Path | None = None
    """What they are judged on, as in srgan evaluate; the first run's own held-out pictures when not given."""

    against: tuple[Enlargement, ...] = INTERPOLATIONS
    """Interpolations to stand beside them."""

    perceptual: tuple[PerceptualMetric, ...] = ()
    """Also how real it looks: lpips, dists, niqe; needs the extra srgan-dist[perceptual]."""

    images: int = 6
    """Pictures to show, those in which the models differ most; the table is about all of them."""

    side: int = _SIDE
    """HR pixels: of larger pictures, the square of this side in which the models differ most is shown."""


def compare(options: CompareOptions, group: Group, track: Track, device: str = "cpu") -> Evaluation:
    """Writes the page and returns its numbers; judging is shared out over `group`.

    Raises:
        ValueError: no runs, models of different scales, or nothing to judge them on.
    """
    if not options.runs:
        raise ValueError("name what to compare: srgan compare RUN [RUN ...] --out report.html")
    models = [open_generator(run) for run in options.runs]
    names = labels(options.runs, [m.label for m in models])
    gallery = matching_gallery(options.data or _held_out(options.runs), models, None)
    trained: dict[str, Method] = {name: generator(m, device) for name, m in zip(names, models, strict=True)}
    methods: dict[str, Method] = {i: interpolation(i, gallery.scale) for i in options.against} | trained
    perceptual = Perceptual(options.perceptual, device) if options.perceptual else None
    evaluation = judge(gallery, methods, group, track, perceptual)
    if group.rank == 0:
        chosen = telling_images(evaluation, list(trained), options.images)
        drawn = [exhibit(gallery, i, methods, list(trained), options.side) for i in track(chosen, "drawing")]
        shown = [replace(e, psnr_y=_psnr_of(evaluation, i)) for e, i in zip(drawn, chosen, strict=True)]
        runs = dict(zip(names, options.runs, strict=True))
        about = model_rows(dict(zip(names, models, strict=True)), runs)
        configs = {name: to_dict(c) for name, run in runs.items() if (c := read_run_config(run))}
        write_text(_report(gallery, evaluation, shown, runs, configs, about).html(), options.out)
    return evaluation


def write_page(run: Path, files: tuple[Path, ...], gallery: Gallery, evaluation: Evaluation, device: str) -> None:
    """A finished run's own page, `comparison.html`, from numbers that are there already."""
    models = [open_generator(f) for f in files]
    trained = model_methods(models, files, device)
    methods: dict[str, Method] = {i: interpolation(i, gallery.scale) for i in INTERPOLATIONS} | trained
    chosen = telling_images(evaluation, list(trained), _PICTURES)
    drawn = [exhibit(gallery, i, methods, list(trained), _SIDE) for i in chosen]
    shown = [replace(e, psnr_y=_psnr_of(evaluation, i)) for e, i in zip(drawn, chosen, strict=True)]
    about = model_rows(dict(zip(trained, models, strict=True)), dict(zip(trained, files, strict=True)))
    write_text(_report(gallery, evaluation, shown, {run.name: run}, {run.name: {}}, about).html(), run / PAGE)


def labels(runs: tuple[Path, ...], models: list[str]) -> list[str]:
    """A name for each: the run's or file's, with the model's, and the whole path where that is not enough."""
    names = [
        f"{run.resolve().name} ({model})" if run.is_dir() and run.name not in model else model
        for run, model in zip(runs, models, strict=True)
    ]
    times = Counter(names)
    return [name if times[name] == 1 else f"{name} {run}" for name, run in zip(names, runs, strict=True)]


def _held_out(runs: tuple[Path, ...]) -> Path:
    for run in runs:
        if (config := read_run_config(run)) and config.data.shards:
            return Path(config.data.shards[0])
    raise ValueError("--data is needed: none of these is a run directory that names its own held-out pictures")


def telling_images(evaluation: Evaluation, trained: list[str], count: int) -> list[int]:
    """The numbers of the images in which the models' PSNR-Y differs most; one model is compared with bicubic."""
    names = trained if len(trained) > 1 else [*trained, "bicubic"]
    psnr: dict[str, list[float]] = {}
    for row in evaluation.rows:
        psnr.setdefault(row.image, [])
        if row.method in names:
            psnr[row.image].append(row.scores["psnr_y"])
    spread = [max(values) - min(values) for values in psnr.values()]
    return sorted(np.argsort(spread)[::-1][:count].tolist())


def exhibit(gallery: Gallery, number: int, methods: dict[str, Method], trained: list[str], side: int) -> Exhibit:
    """One picture by every method, or, where it is large, the square in which the models differ most."""
    picture, s = gallery.read(number), gallery.scale
    results = {name: method(picture.lr) for name, method in methods.items()}
    lr = np.repeat(np.repeat(picture.lr, s, 0), s, 1)
    whole = Exhibit(picture.name, lr, picture.hr, results, trained)
    if max(picture.hr.shape[:2]) <= side:
        return whole
    square = best_square(whole.difference(), side, step=s * max(1, _STEP // s))
    cut = {name: square.cut(image) for name, image in results.items()}
    name = f"{picture.name}, {square.side}x{square.side} at x={square.x} y={square.y}"
    return Exhibit(name, square.cut(lr), square.cut(picture.hr), cut, trained)


def _psnr_of(evaluation: Evaluation, number: int) -> dict[str, float]:
    image = list(dict.fromkeys(row.image for row in evaluation.rows))[number]
    return {row.method: row.scores["psnr_y"] for row in evaluation.rows if row.image == image}


def model_rows(models: dict[str, Generator], sources: dict[str, Path]) -> list[list[str]]:
    """What each model is and where it comes from, a row each, below a heading."""
    rows = [["model", "network", "parameters", "trained on LR by", "from"]]
    for name, model in models.items():
        parameters = sum(p.numel() for p in model.network.parameters())
        rows.append([name, type(model.network).__name__, f"{parameters:,}", model.degradation, str(sources[name])])
    return rows


def _report(
    gallery: Gallery,
    evaluation: Evaluation,
    shown: list[Exhibit],
    runs: dict[str, Path],
    configs: dict[str, dict[str, Any]],
    models: list[list[str]],
) -> Report:
    lr = "LR as given" if gallery.degradation == "given" else f"LR by {gallery.degradation}"
    return Report(
        title=" · ".join(runs),
        subtitle=f"x{gallery.scale} on {gallery.data}, {gallery.count} pictures, {lr}; {len(shown)} of them shown",
        evaluation=evaluation,
        exhibits=shown,
        curves={name: read_curves(runs[name]) for name in configs},
        models=models,
        differences=config_differences(configs),
    )


def config_differences(configs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The fields in which the runs' configurations differ, a row each, below a row of names; none for a single run."""
    if len(configs) < 2:
        return []
    flat = [flatten(config) for config in configs.values()]
    fields = [f for f in dict.fromkeys(k for c in flat for k in c) if not f.startswith(_PRIVATE)]
    rows = [[field, *(str(c.get(field, "")) for c in flat)] for field in fields]
    return [["field", *configs], *(row for row in rows if len(set(row[1:])) > 1)]
