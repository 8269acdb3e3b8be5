"""Evaluates generators and interpolation on held-out images, by the standard evaluation protocol."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.group import Group, ProgressFn, SingleProcess, no_progress
from srgan_dist.evaluation import published_results
from srgan_dist.evaluation.evaluation_set import EvaluationSet, open_evaluation_set, shard_evaluation_set
from srgan_dist.evaluation.figure import Cell, cells, draw
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.metrics import Scores, scores
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.evaluation.results import Evaluation, Row
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import INTERPOLATIONS, KERNELS, Interpolation, Kernel, interpolate
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import Generator, load_generator
from srgan_dist.utils.files import write_json

log = logging.getLogger("srgan_dist")

Method = Callable[[Pixels], Pixels]
ScoreFn = Callable[[Pixels, Pixels], Scores]
"""Scores a pair of sr and hr."""


def evaluate(
    data: Path,
    models: Sequence[Path] = (),
    *,
    scale: int | None = None,
    at: str | None = None,
    against: Sequence[Interpolation] = INTERPOLATIONS,
    perceptual: tuple[PerceptualMetric, ...] = (),
    published: bool = False,
    group: Group = SingleProcess(),
    progress: ProgressFn = no_progress,
    device: str = "cpu",
) -> Evaluation:
    """Evaluate generators and interpolations on held-out images, which are shared out over `group`.

    Args:
        data: a folder of HR images, one that holds HR_x4 and LR_x4, packed shards, or the name of a test set.
        models: run directories, checkpoints, exported generators or published files.
        scale: how many times larger the images become; by default the models', else 4.
        at: which checkpoint of run directories: "last", "best" or a step; see `load_generator`.
        perceptual: metrics to measure besides PSNR and SSIM; they need the extra srgan-dist[perceptual].
        published: refuse data and scales for which the papers report nothing.

    Raises:
        ValueError: nothing to read, models of different scales, or a metric that is not installed.
    """
    opened = [load_generator(m, at) for m in models]
    evaluation_set = matching_evaluation_set(data, opened, scale)
    if published:
        published_results.published(
            evaluation_set.data, evaluation_set.scale
        )  # refused before the work rather than after it
    metrics = open_perceptual(perceptual, device, group)
    methods: dict[str, Method] = {name: interpolation(name, evaluation_set.scale) for name in against}
    methods |= model_methods(opened, models, device)
    if not methods:
        raise ValueError("nothing to judge: name --models, or interpolations with --against")
    return evaluate_methods(evaluation_set, methods, group, progress, metrics)


def matching_evaluation_set(data: Path, models: list[Generator], scale: int | None) -> EvaluationSet:
    """The images at the models' scale, LR made by the kernel that they were trained on.

    A model that was trained on another bicubic than it is evaluated on is evaluated wrongly, so a warning says so.

    Raises:
        ValueError: models of different scales, or nothing to read.
    """
    scales = {m.scale for m in models} | ({scale} if scale else set())
    if len(scales) > 1:
        named = [f"--scale {scale}"] * bool(scale) + [f"{m.label} is x{m.scale}" for m in models]
        raise ValueError(f"scales differ: {', '.join(named)}; judge models of one scale at a time")
    kernels: list[Kernel] = [k for k in KERNELS if k in {m.degradation for m in models}]
    evaluation_set = open_evaluation_set(
        data, scales.pop() if scales else 4, kernels[0] if len(kernels) == 1 else "matlab-mirror"
    )
    for model in models:
        if model.degradation in KERNELS and not _alike(model.degradation, evaluation_set.degradation):
            log.warning(
                "%s was trained on LR made by %s and is evaluated on %s: its numbers are too low",
                model.label, model.degradation, evaluation_set.degradation,
            )  # fmt: skip
    return evaluation_set


def _alike(trained: str, judged: str) -> bool:
    """Whether two bicubics agree, but for a pixel at the border. Given LR files do not say what made them."""
    return judged == "given" or trained.split("-")[0] == judged.split("-")[0]


def model_methods(models: list[Generator], files: Sequence[Path], device: str) -> dict[str, Method]:
    """The models as methods, named by label, and by file where labels repeat."""
    labels = Counter(m.label for m in models)
    short = [m.label if labels[m.label] == 1 else f"{m.label} ({f.stem})" for m, f in zip(models, files, strict=True)]
    times = Counter(short)
    names = [s if times[s] == 1 else f"{m.label} ({f})" for s, m, f in zip(short, models, files, strict=True)]
    return {name: generator(m, device) for name, m in zip(names, models, strict=True)}


def interpolation(name: Interpolation, scale: int) -> Method:
    """Interpolation as a method."""
    return lambda lr: interpolate(lr, scale, name)


def generator(model: Generator, device: str) -> Method:
    """A generator as a method."""
    return Upscaler(model.network, model.scale, device)


def evaluate_methods(
    evaluation_set: EvaluationSet,
    methods: dict[str, Method],
    group: Group,
    progress: ProgressFn,
    perceptual: ScoreFn | None = None,
) -> Evaluation:
    """Every method on every image; the same numbers with any number of processes.

    Raises:
        ValueError: an image that cannot be read or is too small to be evaluated.
    """
    rows: list[tuple[int, Row]] = []
    for i in progress(range(group.rank, evaluation_set.count, group.size), "evaluating"):
        image = evaluation_set.read(i)
        for name, method in methods.items():
            sr = method(image.lr)
            try:
                found = scores(sr, image.hr, border=evaluation_set.scale)
            except ValueError as error:
                raise ValueError(f"{evaluation_set.data}, {image.name}: {error}") from None
            found |= perceptual(sr, image.hr) if perceptual else {}
            rows.append((i, Row(evaluation_set.data, image.name, name, found)))
    ordered = sorted(group.gather(rows), key=lambda numbered: numbered[0])
    return Evaluation(evaluation_set.scale, [row for _, row in ordered])


def comparison(evaluation_set: EvaluationSet, methods: dict[str, Method], count: int = 4) -> Pixels:
    """The comparison image of the first `count` images."""
    rows: list[list[Cell]] = []
    names: list[str] = []
    for i in range(min(count, evaluation_set.count)):
        image = evaluation_set.read(i)
        results = {name: method(image.lr) for name, method in methods.items()}
        rows.append(cells(image.lr, image.hr, results, evaluation_set.scale))
        names.append(image.name)
    return draw(
        rows, names, f"x{evaluation_set.scale}, held-out images, at their busiest 96 x 96 HR pixels; PSNR-Y of the crop"
    )


def evaluate_files(
    files: tuple[Path, ...], held_out: ShardSet, name: str, group: Group, progress: ProgressFn, device: str, out: Path
) -> Evaluation:
    """A run's models beside interpolation; the first process writes `evaluation.json` and `comparison.png`."""
    evaluation_set = shard_evaluation_set(held_out, name)
    models = [load_generator(f) for f in files]
    methods = {n: interpolation(n, evaluation_set.scale) for n in INTERPOLATIONS} | model_methods(models, files, device)
    evaluation = evaluate_methods(evaluation_set, methods, group, progress)
    if group.rank == 0:
        write_json(evaluation.to_json(), out / "evaluation.json", indent=2)
        shown = {n: method for n, method in methods.items() if n != "nearest"}
        images.write(comparison(evaluation_set, shown), out / "comparison.png")
    return evaluation
