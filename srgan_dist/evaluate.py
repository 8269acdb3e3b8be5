"""Judges generators and interpolation on held-out pictures, by the protocol of record."""

import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from srgan_dist import pictures
from srgan_dist.comparison import Cell, cells, draw
from srgan_dist.config import TrackingConfig
from srgan_dist.data.format import write_json, write_text
from srgan_dist.data.shardset import ShardSet
from srgan_dist.evaluation import Evaluation, Row
from srgan_dist.export import Generator
from srgan_dist.foreign import open_generator
from srgan_dist.galleries import Gallery, open_gallery, shard_gallery
from srgan_dist.group import Group, Track
from srgan_dist.metrics import Scores, scores
from srgan_dist.perceptual import Perceptual, PerceptualMetric
from srgan_dist.published import published
from srgan_dist.resize import KERNELS, Enlargement, Kernel, Pixels, enlarge
from srgan_dist.tiled import Upscaler
from srgan_dist.tracking import Tracker, UnreachableError, check_server, shown, tracking_uri

log = logging.getLogger("srgan_dist")

Method = Callable[[Pixels], Pixels]
Judge = Callable[[Pixels, Pixels], Scores]
"""Scores a pair of sr and hr."""
INTERPOLATIONS: tuple[Enlargement, ...] = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is judged, and on which pictures."""

    data: Path
    """A folder of HR pictures, one that holds HR_x4 and LR_x4 (or HR and LR) folders, packed shards, or the name of
    a test set to download: set5, set14, bsd100, urban100."""

    scale: int | None = None
    """How many times larger; the models' scale, else 4, when not given."""

    models: tuple[Path, ...] = ()
    """Run directories, checkpoints, exported generators, or any .pth or .safetensors that spandrel knows."""

    against: tuple[Enlargement, ...] = INTERPOLATIONS
    """Interpolations to stand beside them."""

    perceptual: tuple[PerceptualMetric, ...] = ()
    """Also how real it looks: lpips, dists, niqe; needs the extra srgan-dist[perceptual]."""

    published: bool = False
    """Also print what the SRGAN and ESRGAN papers report for Set5, Set14 and BSD100 at x4."""

    json: Path | None = None
    """Also write the numbers here."""

    csv: Path | None = None
    """Also write the numbers here, a line per image and method."""

    markdown: Path | None = None
    """Also write the table here."""

    mlflow: str | None = None
    """Also log the means to MLflow, as a run of the experiment of this name."""


class Judged(NamedTuple):
    """What `srgan evaluate` found."""

    evaluation: Evaluation
    table: str
    """Markdown."""


def evaluate(options: EvaluateOptions, group: Group, track: Track, device: str = "cpu") -> Judged:
    """Judges the models and interpolations of `options`, the pictures shared out over `group`.

    Raises:
        ValueError: nothing to read, models of different scales, or something that an option needs is not there.
    """
    if options.mlflow and group.rank == 0:
        _check_mlflow()
    models = [open_generator(m) for m in options.models]
    gallery = matching_gallery(options.data, models, options.scale)
    if options.published:
        published(gallery.data, gallery.scale)  # refused before the work rather than after it
    perceptual = Perceptual(options.perceptual, device) if options.perceptual else None
    methods: dict[str, Method] = {name: interpolation(name, gallery.scale) for name in options.against}
    methods |= model_methods(models, options.models, device)
    if not methods:
        raise ValueError("nothing to judge: name --models, or interpolations with --against")
    evaluation = judge(gallery, methods, group, track, perceptual)
    table = evaluation.table(options.published)
    if group.rank == 0:
        _write(options, evaluation, table)
    return Judged(evaluation, table)


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


def _write(options: EvaluateOptions, evaluation: Evaluation, table: str) -> None:
    if options.json:
        write_json(evaluation.to_json(), options.json, indent=2)
    if options.csv:
        write_text(evaluation.to_csv(), options.csv)
    if options.markdown:
        write_text(table + "\n", options.markdown)
    if options.mlflow:
        _log_to_mlflow(options, evaluation)


def _check_mlflow() -> None:
    try:
        check_server(tracking_uri())
    except UnreachableError as error:
        raise ValueError(f"--mlflow: no MLflow server at {shown(tracking_uri())} ({error})") from None


def _log_to_mlflow(options: EvaluateOptions, evaluation: Evaluation) -> None:
    assert options.mlflow
    params = {"data": options.data, "scale": evaluation.scale, "models": [str(m) for m in options.models]}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, f"{options.data.name}-x{evaluation.scale}")  # names the MLflow run
        folder.mkdir()
        write_json(evaluation.to_json(), folder / "evaluation.json", indent=2)
        tracker = Tracker(TrackingConfig(experiment=options.mlflow), folder, params | evaluation.protocols())
        for method, means in evaluation.means().items():
            name = "".join(c if c.isalnum() or c in "-. " else "_" for c in method)
            tracker.metrics(0, {f"{name}/{column}": value for column, value in means.items()})
        tracker.artifact(folder / "evaluation.json")
        tracker.table([row.flat() for row in evaluation.rows])
        if not tracker.close("FINISHED"):
            raise ValueError(f"--mlflow {options.mlflow}: the server has not taken the numbers; repeat the command")


def model_methods(models: list[Generator], files: tuple[Path, ...], device: str) -> dict[str, Method]:
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
    models = [open_generator(f) for f in files]
    methods = {n: interpolation(n, gallery.scale) for n in INTERPOLATIONS} | model_methods(models, files, device)
    evaluation = judge(gallery, methods, group, track)
    if group.rank == 0:
        write_json(evaluation.to_json(), out / "evaluation.json", indent=2)
        shown = {n: method for n, method in methods.items() if n != "nearest"}
        pictures.write(comparison(gallery, shown), out / "comparison.png")
    return evaluation
