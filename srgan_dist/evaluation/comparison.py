"""Comparison of runs and models on one page: scores, images, training curves and configurations."""

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
from srgan_dist.evaluation.method_names import unique_names
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.page_images import INLINE_MB
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.evaluation.report import Figure, ImageComparison, Report
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.evaluation.shown_images import ShownImages
from srgan_dist.evaluation.tradeoff import draw_tradeoff
from srgan_dist.imaging.images import write
from srgan_dist.imaging.resize import INTERPOLATIONS, Interpolation
from srgan_dist.models.files import Generator, load_generator
from srgan_dist.utils.files import output_errors, write_json, write_text
from srgan_dist.utils.serialization import flatten

log = logging.getLogger("srgan_dist")

_IMAGES, _SIDE = 4, 768
"""Number of images on a run's own page and figure, and the largest side of an image on the page, in HR pixels."""
PAGE, FIGURE, TRADEOFF = "comparison.html", "comparison.png", "tradeoff.png"
_PRIVATE = ("run_dir", "tracking.")
"""Prefixes of the configuration fields that do not affect the result."""


def compare(
    runs: tuple[Path, ...], data: Path, out: Path, configs: dict[Path, dict[str, Any]], *,
    at: str | None = None, against: tuple[Interpolation, ...], perceptual: tuple[PerceptualMetric, ...],
    crop_hr: bool = False, images: int, side: int,
    group: Group, progress: ProgressFn, device: str = "cpu",
) -> Evaluation:  # fmt: skip
    """Evaluate models side by side, write the page to `out`, and return the scores.

    Args:
        runs: Sources of generators; see `load_generator`.
        data: The held-out images; see `evaluate`.
        out: The HTML file to write.
        configs: Plain configurations with every field, for those of the `runs` that have one.
        at: The checkpoint to load from run directories: "last", "best" or a step; see `load_generator`.
        against: Interpolations to compare with.
        perceptual: Perceptual metrics to compute as well.
        crop_hr: Crop HR at the right and bottom to the scale times LR; see `evaluate`.
        images: Number of images to show: those in which the models differ most.
        side: Side, in HR pixels, of the square that is shown of a larger image.
        group: The processes that share the images.
        progress: Wraps the images, for a progress bar.
        device: The torch device to run on.

    Raises:
        ValueError: If the models have different scales, there are no images, or the page cannot be written.
    """
    models = [load_generator(run, at) for run in runs]
    names = labels(runs, [m.label for m in models])
    evaluation_set = matching_evaluation_set(data, models, None, crop_hr)
    trained: dict[str, Method] = {name: generator(m, device) for name, m in zip(names, models, strict=True)}
    methods: dict[str, Method] = {i: interpolation(i, evaluation_set.scale) for i in against} | trained
    metrics = open_perceptual(perceptual, device, group)
    observer = ShownImages(evaluation_set.scale, names, images, side)
    evaluation = evaluate_methods(evaluation_set, methods, group, progress, metrics, observer, natural=True)
    shown, _ = observer.gather(group)
    if group.rank == 0:
        sources = dict(zip(names, runs, strict=True))
        about = model_rows(dict(zip(names, models, strict=True)), sources)
        named = {name: configs[run] for name, run in sources.items() if run in configs}
        with output_errors(out):
            folder = _report(evaluation_set, evaluation, shown, sources, named, about).write(out)
        if folder:
            log.info("the images of %s are in %s, because the page would be larger than %d MB with them", out, folder,
                     INLINE_MB)  # fmt: skip
    return evaluation


def compare_phases(
    run: Path, files: tuple[Path, ...], evaluation_set: EvaluationSet, group: Group, progress: ProgressFn, device: str
) -> Evaluation:
    """Evaluate a run's exported generators, other models and interpolation, with the images distributed over `group`.

    The first process writes `evaluation.json`, `comparison.png`, `tradeoff.png` and `comparison.html` to the run
    directory. Every process returns the same scores.

    Args:
        run: The run directory.
        files: Sources of generators, those of the run first; see `load_generator`.
        evaluation_set: The held-out images.
        group: The processes that share the images.
        progress: Wraps the images, for a progress bar.
        device: The torch device to run on.
    """
    models = [load_generator(f) for f in files]
    trained = model_methods(models, files, device)
    methods: dict[str, Method] = {i: interpolation(i, evaluation_set.scale) for i in INTERPOLATIONS} | trained
    observer = ShownImages(evaluation_set.scale, list(trained), _IMAGES, _SIDE, figure_rows=_IMAGES)
    evaluation = evaluate_methods(evaluation_set, methods, group, progress, observe=observer, natural=True)
    shown, rows = observer.gather(group)
    if group.rank == 0:
        about = model_rows(dict(zip(trained, models, strict=True)), dict(zip(trained, files, strict=True)))
        page = _report(evaluation_set, evaluation, shown, {run.name: run}, {run.name: {}}, about)
        write_json(evaluation.to_json(), run / "evaluation.json", indent=2)
        write(draw(rows, _footnote(evaluation_set.scale)), run / FIGURE)
        if (tradeoff := draw_tradeoff(evaluation)) is not None:
            write(tradeoff, run / TRADEOFF)
        write_text(page.html(), run / PAGE)  # one file, which MLflow shows as well
    return evaluation


def _footnote(scale: int) -> tuple[str, str]:
    return (
        f"Held-out images, x{scale}. Each row shows the framed square, enlarged twice. PSNR-Y (higher is closer to the "
        "original), NIQE (lower looks more natural) and grid ratio (1 is no pattern) are the complete image's.",
        "Fidelity and naturalness are at odds: a network trained for PSNR blurs what it cannot know; a GAN draws a "
        "plausible texture, which is not the original's.",
    )


def labels(runs: tuple[Path, ...], models: list[str]) -> list[str]:
    """Return a unique name for each model: its label, with the run's name, and with the path where names repeat."""
    names = [
        f"{run.resolve().name} ({model})" if run.is_dir() and run.name not in model else model
        for run, model in zip(runs, models, strict=True)
    ]
    times = Counter(names)
    return unique_names([n if times[n] == 1 else f"{n} {run}" for n, run in zip(names, runs, strict=True)])


def model_rows(models: dict[str, Generator], sources: dict[str, Path]) -> list[list[str]]:
    """Return a table of the models: a header row, then one row per model with its network, size and source."""
    rows = [["model", "network", "parameters", "LR degradation", "source"]]
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
    lr = "LR as provided" if evaluation_set.degradation == "given" else f"LR made with {evaluation_set.degradation}"
    tradeoff = draw_tradeoff(evaluation)
    return Report(
        title=" · ".join(runs),
        subtitle=f"x{evaluation_set.scale} on {data}, {count} images, {lr}; {len(shown)} shown",
        evaluation=evaluation,
        comparisons=shown,
        curves={name: read_curves(runs[name]) for name in configs},
        models=models,
        differences=config_differences(configs),
        figures=[] if tradeoff is None else [Figure("distortion and naturalness of each method", tradeoff)],
    )


def config_differences(configs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return a table of the fields in which configurations differ: a header row, then one row per field.

    The table is empty if there is only one configuration.
    """
    if len(configs) < 2:
        return []
    flat = [flatten(config) for config in configs.values()]
    fields = [f for f in dict.fromkeys(k for c in flat for k in c) if not f.startswith(_PRIVATE)]
    rows = [[field, *(str(c.get(field, "")) for c in flat)] for field in fields]
    return [["field", *configs], *(row for row in rows if len(set(row[1:])) > 1)]
