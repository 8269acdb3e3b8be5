"""Judges generators and interpolation on held-out pictures, by the protocol of record."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.group import Alone, Group, Track, silent
from srgan_dist.evaluation import published_results
from srgan_dist.evaluation.evaluation_set import Gallery, open_gallery, shard_gallery
from srgan_dist.evaluation.figure import Cell, cells, draw
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.metrics import Scores, scores
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.evaluation.results import Evaluation, Row
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import INTERPOLATIONS, KERNELS, Enlargement, Kernel, enlarge
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import Generator, load_generator
from srgan_dist.utils.files import write_json

log = logging.getLogger("srgan_dist")

Method = Callable[[Pixels], Pixels]
Judge = Callable[[Pixels, Pixels], Scores]
"""Scores a pair of sr and hr."""


def evaluate(
    data: Path,
    models: Sequence[Path] = (),
    *,
    scale: int | None = None,
    at: str | None = None,
    against: Sequence[Enlargement] = INTERPOLATIONS,
    perceptual: tuple[PerceptualMetric, ...] = (),
    published: bool = False,
    group: Group = Alone(),
    track: Track = silent,
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
    gallery = matching_gallery(data, opened, scale)
    if published:
        published_results.published(gallery.data, gallery.scale)  # refused before the work rather than after it
    metrics = open_perceptual(perceptual, device, group)
    methods: dict[str, Method] = {name: interpolation(name, gallery.scale) for name in against}
    methods |= model_methods(opened, models, device)
    if not methods:
        raise ValueError("nothing to judge: name --models, or interpolations with --against")
    return judge(gallery, methods, group, track, metrics)


def matching_gallery(data: Path, models: list[Generator], scale: int | None) -> Gallery:
    """The pictures at the models' scale, LR made by the kernel that they were trained on.

    A model that was trained on another bicubic than it is judged on is judged wrongly, so a warning says so.

    Raises:
        ValueError: models of different scales, or nothing to read.
    """
    scales = {m.scale for m in models} | ({scale} if scale else set())
    if len(scales) > 1:
        named = [f"--scale {scale}"] * bool(scale) + [f"{m.label} is x{m.scale}" for m in models]
        raise ValueError(f"scales differ: {', '.join(named)}; judge models of one scale at a time")
    kernels: list[Kernel] = [k for k in KERNELS if k in {m.degradation for m in models}]
    gallery = open_gallery(data, scales.pop() if scales else 4, kernels[0] if len(kernels) == 1 else "matlab-mirror")
    for model in models:
        if model.degradation in KERNELS and not _alike(model.degradation, gallery.degradation):
            log.warning(
                "%s was trained on LR made by %s and is judged on %s: its numbers are too low",
                model.label, model.degradation, gallery.degradation,
            )  # fmt: skip
    return gallery


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


def interpolation(name: Enlargement, scale: int) -> Method:
    """Interpolation as a method."""
    return lambda lr: enlarge(lr, scale, name)


def generator(model: Generator, device: str) -> Method:
    """A generator as a method."""
    return Upscaler(model.network, model.scale, device)


def judge(
    gallery: Gallery, methods: dict[str, Method], group: Group, track: Track, perceptual: Judge | None = None
) -> Evaluation:
    """Every method on every picture; the same numbers with any number of processes.

    Raises:
        ValueError: a picture that cannot be read or is too small to be judged.
    """
    rows: list[tuple[int, Row]] = []
    for i in track(range(group.rank, gallery.count, group.size), "evaluating"):
        picture = gallery.read(i)
        for name, method in methods.items():
            sr = method(picture.lr)
            try:
                found = scores(sr, picture.hr, border=gallery.scale)
            except ValueError as error:
                raise ValueError(f"{gallery.data}, {picture.name}: {error}") from None
            found |= perceptual(sr, picture.hr) if perceptual else {}
            rows.append((i, Row(gallery.data, picture.name, name, found)))
    ordered = sorted(group.gather(rows), key=lambda numbered: numbered[0])
    return Evaluation(gallery.scale, [row for _, row in ordered])


def comparison(gallery: Gallery, methods: dict[str, Method], count: int = 4) -> Pixels:
    """The comparison picture of the first `count` pictures."""
    rows: list[list[Cell]] = []
    names: list[str] = []
    for i in range(min(count, gallery.count)):
        picture = gallery.read(i)
        results = {name: method(picture.lr) for name, method in methods.items()}
        rows.append(cells(picture.lr, picture.hr, results, gallery.scale))
        names.append(picture.name)
    return draw(
        rows, names, f"x{gallery.scale}, held-out pictures, at their busiest 96 x 96 HR pixels; PSNR-Y of the crop"
    )


def judge_run(
    files: tuple[Path, ...], held_out: ShardSet, name: str, group: Group, track: Track, device: str, out: Path
) -> Evaluation:
    """A run's models beside interpolation; the first process writes `evaluation.json` and `comparison.png`."""
    gallery = shard_gallery(held_out, name)
    models = [load_generator(f) for f in files]
    methods = {n: interpolation(n, gallery.scale) for n in INTERPOLATIONS} | model_methods(models, files, device)
    evaluation = judge(gallery, methods, group, track)
    if group.rank == 0:
        write_json(evaluation.to_json(), out / "evaluation.json", indent=2)
        shown = {n: method for n, method in methods.items() if n != "nearest"}
        images.write(comparison(gallery, shown), out / "comparison.png")
    return evaluation
