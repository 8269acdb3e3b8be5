"""Evaluate generators and interpolation on held-out images, by the standard evaluation protocol."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from srgan_dist.distributed.group import Group, ProgressFn, SingleProcess, no_progress
from srgan_dist.evaluation import published_results
from srgan_dist.evaluation.evaluation_set import EvaluationSet, ImagePair, open_evaluation_set
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.metrics import Scores, scores
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.evaluation.results import Evaluation, Row
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import INTERPOLATIONS, KERNELS, Interpolation, Kernel, interpolate
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import Generator, load_generator

log = logging.getLogger("srgan_dist")

Method = Callable[[Pixels], Pixels]
ScoreFn = Callable[[Pixels, Pixels], Scores]
"""Returns scores of an sr and its hr."""
ObserveFn = Callable[[int, ImagePair, dict[str, Pixels], dict[str, Scores]], None]
"""Gets an image's number, the pair, and results and scores by method."""


def evaluate(
    data: Path,
    models: Sequence[Path] = (),
    *,
    scale: int | None = None,
    at: str | None = None,
    against: Sequence[Interpolation] = INTERPOLATIONS,
    perceptual: tuple[PerceptualMetric, ...] = (),
    published: bool = False,
    crop_hr: bool = False,
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
        crop_hr: cut off what HR has beyond `scale` times LR, where that is less than `scale` pixels a side.

    Raises:
        ValueError: nothing to read, models of different scales, or a metric that is not installed.
    """
    opened = [load_generator(m, at) for m in models]
    evaluation_set = matching_evaluation_set(data, opened, scale, crop_hr)
    if published:
        published_results.published(
            evaluation_set.data, evaluation_set.scale
        )  # refused before the work rather than after it
    metrics = open_perceptual(perceptual, device, group)
    methods: dict[str, Method] = {name: interpolation(name, evaluation_set.scale) for name in against}
    methods |= model_methods(opened, models, device)
    if not methods:
        raise ValueError("nothing to evaluate: name --models, or interpolations with --against")
    return evaluate_methods(evaluation_set, methods, group, progress, metrics)


def matching_evaluation_set(
    data: Path, models: list[Generator], scale: int | None, crop_hr: bool = False
) -> EvaluationSet:
    """Open the images at the models' scale, with LR made by the kernel that they were trained on.

    Scores of a model that was trained on another bicubic than it is evaluated on are pessimistic: a warning says so.

    Raises:
        ValueError: the models have different scales, or there is nothing to read.
    """
    scales = {m.scale for m in models} | ({scale} if scale else set())
    if len(scales) > 1:
        named = [f"--scale {scale}"] * bool(scale) + [f"{m.label} is x{m.scale}" for m in models]
        raise ValueError(f"scales differ: {', '.join(named)}; evaluate models of one scale at a time")
    kernels: list[Kernel] = [k for k in KERNELS if k in {m.degradation for m in models}]
    kernel = kernels[0] if len(kernels) == 1 else "matlab-mirror"
    evaluation_set = open_evaluation_set(data, scales.pop() if scales else 4, kernel, crop_hr=crop_hr)
    for model in models:
        if model.degradation in KERNELS and not _alike(model.degradation, evaluation_set.degradation):
            log.warning(
                "%s was trained on LR made by %s but is evaluated on %s: its scores will be pessimistic",
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
    observe: ObserveFn | None = None,
) -> Evaluation:
    """Apply every method to every image; the numbers do not depend on how many processes share the images.

    Args:
        observe: gets each image of this process with every method's result, while they are in memory.

    Raises:
        ValueError: an image cannot be read, or is too small for a metric.
    """
    rows: list[tuple[int, Row]] = []
    for i in progress(range(group.rank, evaluation_set.count, group.size), "evaluating"):
        pair = evaluation_set.read(i)
        results = {name: method(pair.lr) for name, method in methods.items()}
        found = {name: _score(evaluation_set, pair, sr, perceptual) for name, sr in results.items()}
        rows += [(i, Row(evaluation_set.data, pair.name, name, scores)) for name, scores in found.items()]
        if observe:
            observe(i, pair, results, found)
    ordered = sorted(group.gather(rows), key=lambda numbered: numbered[0])
    return Evaluation(evaluation_set.scale, [row for _, row in ordered])


def _score(evaluation_set: EvaluationSet, pair: ImagePair, sr: Pixels, perceptual: ScoreFn | None) -> Scores:
    try:
        found = scores(sr, pair.hr, border=evaluation_set.scale)
    except ValueError as error:
        raise ValueError(f"{evaluation_set.data}, {pair.name}: {error}") from None
    return found | (perceptual(sr, pair.hr) if perceptual else {})
