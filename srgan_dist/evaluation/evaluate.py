"""Evaluate generators and interpolation on held-out images, by the standard evaluation protocol."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from srgan_dist.distributed.group import Group, ProgressFn, SingleProcess, no_progress
from srgan_dist.evaluation import published_results
from srgan_dist.evaluation.evaluation_set import EvaluationSet, ImagePair, open_evaluation_set
from srgan_dist.evaluation.method_names import unique_names
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.metrics import Scores, scores
from srgan_dist.evaluation.naturalness import naturalness, original_naturalness
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.evaluation.results import Evaluation, Row
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import INTERPOLATIONS, KERNELS, Interpolation, Kernel, interpolate
from srgan_dist.inference.upscaler import NonFiniteError, Upscaler
from srgan_dist.models.files import Generator, load_generator
from srgan_dist.utils.usage import UsageError

log = logging.getLogger("srgan_dist")

Method = Callable[[Pixels], Pixels]
"""Upscales lr (h, w, 3) to sr (scale*h, scale*w, 3), both uint8 RGB."""
ScoreFn = Callable[[Pixels, Pixels], Scores]
"""Computes the scores of sr against hr."""
ObserveFn = Callable[[int, ImagePair, dict[str, Pixels], dict[str, Scores]], None]
"""Receives an image's index and pair, and its results and scores by method."""


def evaluate(
    data: Path, models: Sequence[Path] = (), *, scale: int | None = None, at: str | None = None,
    against: Sequence[Interpolation] = INTERPOLATIONS, perceptual: tuple[PerceptualMetric, ...] = (),
    published: bool = False, crop_hr: bool = False,
    group: Group = SingleProcess(), progress: ProgressFn = no_progress, device: str = "cpu",
) -> Evaluation:  # fmt: skip
    """Evaluate generators and interpolations on held-out images, by the standard evaluation protocol.

    Args:
        data: A folder of HR images, a folder with HR_x4 and LR_x4, packed shards, or the name of a test set.
        models: Run directories, checkpoints, exported generators or published files.
        scale: Upscaling factor; by default the models', or 4 without models.
        at: The checkpoint to load from run directories: "last", "best" or a step; see `load_generator`.
        against: Interpolations to evaluate as well.
        perceptual: Metrics to compute besides PSNR and SSIM. With models, or with `niqe`, these are NIQE, gradient
            energy and grid ratio, which need nothing else; the others need the extra srgan-dist[perceptual].
        published: Refuse data and scales for which the papers report no results.
        crop_hr: Crop HR at the right and bottom to `scale` times LR, if it is less than `scale` pixels larger.
        group: The processes that share the images. All of them return the same scores.
        progress: Wraps the images, for a progress bar.
        device: The torch device to run on.

    Raises:
        ValueError: If there are no images, the models have different scales, or a metric is not installed.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import srgan_dist
        >>> from srgan_dist.imaging.images import write
        >>> hr = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(hr, Path(folder, "noise.png"))
        ...     means = srgan_dist.evaluate(Path(folder), scale=2, against=["nearest", "bicubic"]).means()
        >>> sorted(means), sorted(means["bicubic"])
        (['bicubic', 'nearest'], ['psnr_rgb', 'psnr_y', 'ssim_y'])
    """
    opened = [load_generator(m, at) for m in models]
    evaluation_set = matching_evaluation_set(data, opened, scale, crop_hr)
    if published:
        published_results.published(evaluation_set.data, evaluation_set.scale)  # raise before the work, not after it
    metrics = open_perceptual(perceptual, device, group)
    natural = bool(models) or "niqe" in perceptual
    methods: dict[str, Method] = {name: interpolation(name, evaluation_set.scale) for name in against}
    methods |= model_methods(opened, models, device)
    if not methods:
        raise UsageError("nothing to evaluate: pass --models, or interpolations with --against")
    return evaluate_methods(evaluation_set, methods, group, progress, metrics, natural=natural)


def matching_evaluation_set(
    data: Path, models: list[Generator], scale: int | None, crop_hr: bool = False
) -> EvaluationSet:
    """Open an evaluation set at the models' scale, with LR made by the kernel that they were trained on.

    Log a warning for each model that was trained on another kernel than it is evaluated on, because its scores will be
    pessimistic.

    Args:
        data: See `evaluate`.
        models: The generators to evaluate; may be empty.
        scale: Upscaling factor; by default the models', or 4 without models.
        crop_hr: See `evaluate`.

    Raises:
        ValueError: If the scales differ, or there are no images.
    """
    scales = {m.scale for m in models} | ({scale} if scale else set())
    if len(scales) > 1:
        named = [f"--scale {scale}"] * bool(scale) + [f"{m.label} is x{m.scale}" for m in models]
        raise ValueError(f"scales differ: {', '.join(named)}; evaluate models of one scale at a time")
    kernels: list[Kernel] = [k for k in KERNELS if k in {m.degradation for m in models}]
    kernel = kernels[0] if len(kernels) == 1 else "matlab-mirror"
    evaluation_set = open_evaluation_set(data, scales.pop() if scales else 4, kernel, crop_hr=crop_hr)
    for model in models:
        if model.degradation in KERNELS and not _same_family(model.degradation, evaluation_set.degradation):
            log.warning(
                "%s was trained on LR made by %s but is evaluated on %s: its scores will be pessimistic",
                model.label, model.degradation, evaluation_set.degradation,
            )  # fmt: skip
    return evaluation_set


def _same_family(trained: str, evaluated: str) -> bool:
    """Return whether two kernels agree except at the border. The kernel of LR that came with the data is unknown."""
    return evaluated == "given" or trained.split("-")[0] == evaluated.split("-")[0]


def model_methods(models: list[Generator], files: Sequence[Path], device: str) -> dict[str, Method]:
    """Return the generators as methods by name: the label, with the file's stem or path where labels repeat."""
    labels = Counter(m.label for m in models)
    short = [m.label if labels[m.label] == 1 else f"{m.label} ({f.stem})" for m, f in zip(models, files, strict=True)]
    repeats = Counter(short)
    names = [s if repeats[s] == 1 else f"{m.label} ({f})" for s, m, f in zip(short, models, files, strict=True)]
    return {name: generator(m, device) for name, m in zip(unique_names(names), models, strict=True)}


def interpolation(name: Interpolation, scale: int) -> Method:
    """Return a method that upscales by interpolation."""
    return lambda lr: interpolate(lr, scale, name)


def generator(model: Generator, device: str) -> Method:
    """Return a method that upscales with a generator, on a torch device."""
    return Upscaler(model.network, model.scale, device)


def evaluate_methods(
    evaluation_set: EvaluationSet,
    methods: dict[str, Method],
    group: Group,
    progress: ProgressFn,
    perceptual: ScoreFn | None = None,
    observe: ObserveFn | None = None,
    natural: bool = False,
) -> Evaluation:
    """Return the scores of every method on every image; they do not depend on the number of processes.

    Args:
        evaluation_set: The held-out images.
        methods: Methods by name.
        group: The processes that share the images. All of them return the same scores.
        progress: Wraps the images, for a progress bar.
        perceptual: Computes further scores.
        observe: Called for each image of this process, while the image and its results are in memory.
        natural: Whether to compute the scores of `naturalness` as well, for HR too.

    Raises:
        ValueError: If an image cannot be read or is too small for a metric, or a method returns NaN or infinity.
    """
    rows: list[tuple[int, bool, Row]] = []
    """Index of the image, whether it is HR itself, and the scores."""
    for i in progress(range(group.rank, evaluation_set.count, group.size), "evaluating"):
        pair = evaluation_set.read(i)
        results = {name: _upscale(evaluation_set, pair, name, method) for name, method in methods.items()}
        found = {name: _score(evaluation_set, pair, sr, perceptual, natural) for name, sr in results.items()}
        rows += [(i, False, Row(evaluation_set.data, pair.name, name, scores)) for name, scores in found.items()]
        if natural:
            own = original_naturalness(pair.hr, evaluation_set.scale)
            rows.append((i, True, Row(evaluation_set.data, pair.name, "HR", own)))
        if observe:
            observe(i, pair, results, found)
    ordered = sorted(group.gather(rows), key=lambda numbered: numbered[0])
    found_rows, originals = ([row for _, of_hr, row in ordered if of_hr == wanted] for wanted in (False, True))
    return Evaluation(evaluation_set.scale, found_rows, originals)


def _upscale(evaluation_set: EvaluationSet, pair: ImagePair, name: str, method: Method) -> Pixels:
    try:
        return method(pair.lr)
    except NonFiniteError as error:
        raise ValueError(f"{evaluation_set.data}, {pair.name}: {name} {error.reason}") from None


def _score(
    evaluation_set: EvaluationSet, pair: ImagePair, sr: Pixels, perceptual: ScoreFn | None, natural: bool
) -> Scores:
    try:
        found = scores(sr, pair.hr, border=evaluation_set.scale)
    except ValueError as error:
        raise ValueError(f"{evaluation_set.data}, {pair.name}: {error}") from None
    found |= naturalness(sr, pair.hr, evaluation_set.scale) if natural else {}
    return found | (perceptual(sr, pair.hr) if perceptual else {})
