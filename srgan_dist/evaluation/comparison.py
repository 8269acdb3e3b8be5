"""Runs and models side by side: numbers, images, curves and configurations on one page."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

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
from srgan_dist.evaluation.figure import draw
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.evaluation.report import ImageComparison, Report
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.evaluation.shown_images import ShownImages
from srgan_dist.imaging.images import write
from srgan_dist.imaging.resize import INTERPOLATIONS, Interpolation
from srgan_dist.models.files import Generator, load_generator
from srgan_dist.utils.files import output_errors, write_json, write_text
from srgan_dist.utils.serialization import flatten

log = logging.getLogger("srgan_dist")

_IMAGES, _SIDE = 4, 768
"""What a run's own page and figure show."""
PAGE, FIGURE = "comparison.html", "comparison.png"
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
    crop_hr: bool = False,
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
        crop_hr: cut off what HR has beyond the scale times LR, where that is less than the scale.

    Raises:
        ValueError: models of different scales, or nothing to evaluate them on.
    """
    models = [load_generator(run, at) for run in runs]
    names = labels(runs, [m.label for m in models])
    evaluation_set = matching_evaluation_set(data, models, None, crop_hr)
    trained: dict[str, Method] = {name: generator(m, device) for name, m in zip(names, models, strict=True)}
    methods: dict[str, Method] = {i: interpolation(i, evaluation_set.scale) for i in against} | trained
    metrics = open_perceptual(perceptual, device, group)
    watch = ShownImages(evaluation_set.scale, names, images, side)
    evaluation = evaluate_methods(evaluation_set, methods, group, progress, metrics, watch)
    shown, _ = watch.gather(group)
    if group.rank == 0:
        sources = dict(zip(names, runs, strict=True))
        about = model_rows(dict(zip(names, models, strict=True)), sources)
        named = {name: configs[run] for name, run in sources.items() if run in configs}
        with output_errors(out):
            write_text(_report(evaluation_set, evaluation, shown, sources, named, about).html(), out)
    return evaluation


def compare_phases(
    run: Path, files: tuple[Path, ...], evaluation_set: EvaluationSet, group: Group, progress: ProgressFn, device: str
) -> Evaluation:
    """Evaluate a run's exported generators beside interpolation, each image once, shared out over `group`.

    The first process writes `evaluation.json`, `comparison.png` and `comparison.html` into the run directory.
    """
    models = [load_generator(f) for f in files]
    trained = model_methods(models, files, device)
    methods: dict[str, Method] = {i: interpolation(i, evaluation_set.scale) for i in INTERPOLATIONS} | trained
    watch = ShownImages(evaluation_set.scale, list(trained), _IMAGES, _SIDE, figure_rows=_IMAGES)
    evaluation = evaluate_methods(evaluation_set, methods, group, progress, observe=watch)
    shown, rows = watch.gather(group)
    if group.rank == 0:
        about = model_rows(dict(zip(trained, models, strict=True)), dict(zip(trained, files, strict=True)))
        page = _report(evaluation_set, evaluation, shown, {run.name: run}, {run.name: {}}, about)
        write_json(evaluation.to_json(), run / "evaluation.json", indent=2)
        write(draw([r.cells for r in rows], [r.name for r in rows], _footnote(evaluation_set.scale)), run / FIGURE)
        write_text(page.html(), run / PAGE)
    return evaluation


def _footnote(scale: int) -> str:
    return f"x{scale}, held-out images, at their busiest 96 x 96 HR pixels; PSNR-Y of the crop"


def labels(runs: tuple[Path, ...], models: list[str]) -> list[str]:
    """A name for each: the run's or file's, with the model's, and the whole path where that is not enough."""
    names = [
        f"{run.resolve().name} ({model})" if run.is_dir() and run.name not in model else model
        for run, model in zip(runs, models, strict=True)
    ]
    times = Counter(names)
    return [name if times[name] == 1 else f"{name} {run}" for name, run in zip(names, runs, strict=True)]


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
