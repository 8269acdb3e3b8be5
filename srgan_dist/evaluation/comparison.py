"""Runs and models side by side: numbers, images, curves and configurations on one page."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from srgan_dist.distributed.group import Group, ProgressFn
from srgan_dist.evaluation.curves import read_curves
from srgan_dist.evaluation.evaluate import (
    Method,
    evaluate_methods,
    generator,
    interpolation,
    matching_evaluation_set,
    model_methods,
)
from srgan_dist.evaluation.evaluation_set import EvaluationSet
from srgan_dist.evaluation.figure import best_square
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.evaluation.report import ImageComparison, Report
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.imaging.resize import INTERPOLATIONS, Interpolation
from srgan_dist.models.files import Generator, load_generator
from srgan_dist.utils.files import write_text
from srgan_dist.utils.serialization import flatten

log = logging.getLogger("srgan_dist")

_STEP = 16
_PICTURES, _SIDE = 4, 768
PAGE = "comparison.html"
_PRIVATE = ("run_dir", "tracking.")
"""Fields of a configuration that say nothing about the result."""


def compare(
    runs: tuple[Path, ...],
    data: Path,
    out: Path,
    configs: dict[Path, dict[str, Any]],
    *,
    at: str | None = None,
    against: tuple[Interpolation, ...],
    perceptual: tuple[PerceptualMetric, ...],
    images: int,
    side: int,
    group: Group,
    progress: ProgressFn,
    device: str = "cpu",
) -> Evaluation:
    """Write the page to `out` and return its numbers; the evaluation is shared out over `group`.

    Args:
        configs: plain configurations of those of the `runs` that have one, with every field.
        at: which checkpoint of run directories: "last", "best" or a step; see `load_generator`.
        images: how many images to show, those in which the models differ most.
        side: HR pixels of the square that is shown of larger images.

    Raises:
        ValueError: models of different scales, or nothing to evaluate them on.
    """
    models = [load_generator(run, at) for run in runs]
    names = labels(runs, [m.label for m in models])
    evaluation_set = matching_evaluation_set(data, models, None)
    trained: dict[str, Method] = {name: generator(m, device) for name, m in zip(names, models, strict=True)}
    methods: dict[str, Method] = {i: interpolation(i, evaluation_set.scale) for i in against} | trained
    metrics = open_perceptual(perceptual, device, group)
    evaluation = evaluate_methods(evaluation_set, methods, group, progress, metrics)
    if group.rank == 0:
        chosen = most_different_images(evaluation, list(trained), images)
        drawn = [compare_image(evaluation_set, i, methods, list(trained), side) for i in progress(chosen, "drawing")]
        shown = [replace(e, psnr_y=_psnr_of(evaluation, i)) for e, i in zip(drawn, chosen, strict=True)]
        sources = dict(zip(names, runs, strict=True))
        about = model_rows(dict(zip(names, models, strict=True)), sources)
        named = {name: configs[run] for name, run in sources.items() if run in configs}
        write_text(_report(evaluation_set, evaluation, shown, sources, named, about).html(), out)
    return evaluation


def write_page(
    run: Path, files: tuple[Path, ...], evaluation_set: EvaluationSet, evaluation: Evaluation, device: str
) -> None:
    """A finished run's own page, `comparison.html`, from numbers that are there already."""
    models = [load_generator(f) for f in files]
    trained = model_methods(models, files, device)
    methods: dict[str, Method] = {i: interpolation(i, evaluation_set.scale) for i in INTERPOLATIONS} | trained
    chosen = most_different_images(evaluation, list(trained), _PICTURES)
    drawn = [compare_image(evaluation_set, i, methods, list(trained), _SIDE) for i in chosen]
    shown = [replace(e, psnr_y=_psnr_of(evaluation, i)) for e, i in zip(drawn, chosen, strict=True)]
    about = model_rows(dict(zip(trained, models, strict=True)), dict(zip(trained, files, strict=True)))
    write_text(_report(evaluation_set, evaluation, shown, {run.name: run}, {run.name: {}}, about).html(), run / PAGE)


def labels(runs: tuple[Path, ...], models: list[str]) -> list[str]:
    """A name for each: the run's or file's, with the model's, and the whole path where that is not enough."""
    names = [
        f"{run.resolve().name} ({model})" if run.is_dir() and run.name not in model else model
        for run, model in zip(runs, models, strict=True)
    ]
    times = Counter(names)
    return [name if times[name] == 1 else f"{name} {run}" for name, run in zip(names, runs, strict=True)]


def most_different_images(evaluation: Evaluation, trained: list[str], count: int) -> list[int]:
    """The numbers of the images in which the models' PSNR-Y differs most; one model is compared with bicubic."""
    names = trained if len(trained) > 1 else [*trained, "bicubic"]
    psnr: dict[str, list[float]] = {}
    for row in evaluation.rows:
        psnr.setdefault(row.image, [])
        if row.method in names:
            psnr[row.image].append(row.scores["psnr_y"])
    spread = [max(values) - min(values) for values in psnr.values()]
    return sorted(np.argsort(spread)[::-1][:count].tolist())


def compare_image(
    evaluation_set: EvaluationSet, number: int, methods: dict[str, Method], trained: list[str], side: int
) -> ImageComparison:
    """One image by every method, or, where it is large, the square in which the models differ most."""
    picture, s = evaluation_set.read(number), evaluation_set.scale
    results = {name: method(picture.lr) for name, method in methods.items()}
    lr = np.repeat(np.repeat(picture.lr, s, 0), s, 1)
    whole = ImageComparison(picture.name, lr, picture.hr, results, trained)
    if max(picture.hr.shape[:2]) <= side:
        return whole
    square = best_square(whole.difference(), side, step=s * max(1, _STEP // s))
    cut = {name: square.cut(image) for name, image in results.items()}
    name = f"{picture.name}, {square.side}x{square.side} at x={square.x} y={square.y}"
    return ImageComparison(name, square.cut(lr), square.cut(picture.hr), cut, trained)


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
    evaluation_set: EvaluationSet,
    evaluation: Evaluation,
    shown: list[ImageComparison],
    runs: dict[str, Path],
    configs: dict[str, dict[str, Any]],
    models: list[list[str]],
) -> Report:
    count, data = evaluation_set.count, evaluation_set.data
    lr = "LR as given" if evaluation_set.degradation == "given" else f"LR by {evaluation_set.degradation}"
    return Report(
        title=" · ".join(runs),
        subtitle=f"x{evaluation_set.scale} on {data}, {count} images, {lr}; {len(shown)} of them shown",
        evaluation=evaluation,
        comparisons=shown,
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
