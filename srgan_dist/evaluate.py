"""Judges generators and interpolation on held-out pictures, by the protocol of record."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan_dist import pictures
from srgan_dist.comparison import Cell, cells, draw
from srgan_dist.data.format import MANIFEST, read_manifest, write_json
from srgan_dist.data.pack import load
from srgan_dist.data.reader import ShardSet
from srgan_dist.data.sources import FolderSource, Item
from srgan_dist.export import Generator, load_generator
from srgan_dist.group import Group, Track
from srgan_dist.inference import super_resolve
from srgan_dist.metrics import Quality, protocol, quality
from srgan_dist.resize import KERNELS, Enlargement, Kernel, Pixels, enlarge

Method = Callable[[Pixels], Pixels]
INTERPOLATIONS: tuple[Enlargement, ...] = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is judged, and on which pictures."""

    data: Path
    """A folder of HR pictures, one that holds HR_x4 and LR_x4 (or HR and LR) folders, or packed shards."""

    scale: int | None = None
    """How many times larger; the models' scale, else 4, when not given."""

    models: tuple[Path, ...] = ()
    """Exported generators (.safetensors) or run directories."""

    against: tuple[Enlargement, ...] = INTERPOLATIONS
    """Interpolations to stand beside them."""

    json: Path | None = None
    """Also write the numbers here."""


class Picture(NamedTuple):
    """A held-out pair."""

    name: str
    lr: Pixels
    hr: Pixels


class Row(NamedTuple):
    """One number pair of the table."""

    data: str
    image: str
    method: str
    psnr_y: float
    ssim_y: float


@dataclass(frozen=True)
class Gallery:
    """The pictures of one data set, read one at a time."""

    data: str
    scale: int
    degradation: str
    count: int
    read: Callable[[int], Picture]


@dataclass(frozen=True)
class Evaluation:
    """All numbers, under their protocol's name."""

    scale: int
    rows: list[Row]

    def means(self) -> dict[str, Quality]:
        """Per method, the mean over images of the per-image values."""
        methods = dict.fromkeys(r.method for r in self.rows)
        return {
            m: Quality(*np.mean([(r.psnr_y, r.ssim_y) for r in self.rows if r.method == m], axis=0)) for m in methods
        }

    def to_json(self) -> dict[str, Any]:
        """As the README documents it."""
        means = {m: {"psnr_y": float(q.psnr_y), "ssim_y": float(q.ssim_y)} for m, q in self.means().items()}
        return {"protocol": protocol(self.scale), "rows": [r._asdict() for r in self.rows], "means": means}

    def table(self) -> str:
        """Markdown: a row per method with its means over images, and what it gains over bicubic."""
        means = self.means()
        images = len({(r.data, r.image) for r in self.rows})
        base = means.get("bicubic")
        head = f"| {images} images | PSNR-Y dB | SSIM-Y | vs bicubic |"
        lines = [head, "|:--|--:|--:|--:|"]
        for method, q in means.items():
            gain = f"{q.psnr_y - base.psnr_y:+.2f} dB" if base else ""
            lines.append(f"| {method} | {q.psnr_y:.2f} | {q.ssim_y:.4f} | {gain} |")
        return "\n".join([*lines, "", f"protocol {protocol(self.scale)}"])


def evaluate(options: EvaluateOptions, group: Group, track: Track, device: str = "cpu") -> Evaluation:
    """Judges the models and interpolations of `options`, the pictures shared out over `group`.

    Raises:
        ValueError: nothing to read, a model of another scale, or one trained on another bicubic.
    """
    models = [load_generator(m) for m in options.models]
    scales = {m.scale for m in models} | ({options.scale} if options.scale else set())
    if len(scales) > 1:
        raise ValueError(f"scales differ: {sorted(scales)}; judge models of one scale at a time")
    scale = scales.pop() if scales else 4
    kernels: list[Kernel] = [k for k in KERNELS if k in {m.degradation for m in models}]
    gallery = open_gallery(options.data, scale, kernels[0] if len(kernels) == 1 else "matlab-mirror")
    methods: dict[str, Method] = {name: interpolation(name, scale) for name in options.against}
    methods |= model_methods(models, options.models, device)
    evaluation = judge(gallery, methods, group, track)
    if options.json and group.rank == 0:
        write_json(evaluation.to_json(), options.json, indent=2)
    return evaluation


def model_methods(models: list[Generator], files: tuple[Path, ...], device: str) -> dict[str, Method]:
    """The models as methods, named by label, or by file where labels repeat."""
    labels = [m.label for m in models]
    named = [m.label if labels.count(m.label) == 1 else f"{m.label} {f}" for m, f in zip(models, files, strict=True)]
    return {name: generator(m, device) for name, m in zip(named, models, strict=True)}


def interpolation(name: Enlargement, scale: int) -> Method:
    """Interpolation as a method."""
    return lambda lr: enlarge(lr, scale, name)


def generator(model: Generator, device: str) -> Method:
    """A generator as a method."""
    network = model.network.to(device)
    return lambda lr: super_resolve(network, lr)


def judge(gallery: Gallery, methods: dict[str, Method], group: Group, track: Track) -> Evaluation:
    """Every method on every picture; the same numbers with any number of processes."""
    rows: list[tuple[int, Row]] = []
    for i in track(range(group.rank, gallery.count, group.size), "evaluating"):
        picture = gallery.read(i)
        for name, method in methods.items():
            q = quality(method(picture.lr), picture.hr, border=gallery.scale)
            rows.append((i, Row(gallery.data, picture.name, name, q.psnr_y, q.ssim_y)))
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


def open_gallery(data: Path, scale: int, kernel: Kernel = "matlab-mirror") -> Gallery:
    """The pictures of a folder or of shards (their `valid` split, or all where there is none).

    Raises:
        ValueError: nothing to read, or shards of another scale.
    """
    if (data / MANIFEST).exists():
        return _open_shards(data, scale)
    if not data.is_dir():
        raise ValueError(f"--data {data}: there is no such folder")
    source = FolderSource(root=data)
    items: list[Item] = source.items("valid", scale) or source.items("train", scale)

    def read(i: int) -> Picture:
        lr_hr = load(items[i], scale, kernel)
        return Picture(items[i].name, lr_hr[1], lr_hr[0])

    return Gallery(data.name, scale, "given" if items[0].lr else kernel, len(items), read)


def _open_shards(data: Path, scale: int) -> Gallery:
    manifest = read_manifest(data)
    if manifest.scale != scale:
        raise ValueError(f"--data {data}: shards of scale={manifest.scale}, judged at scale={scale}")
    return shard_gallery(ShardSet((str(data),), "valid" if manifest.samples("valid") else "train"), data.name)


def shard_gallery(shards: ShardSet, name: str) -> Gallery:
    """Shards as a gallery."""
    made = shards.manifests[0].degradation
    return Gallery(
        name,
        shards.scale,
        made,
        len(shards),
        lambda i: Picture(shards.keys[i], shards.lr(i).copy(), shards.hr(i).copy()),
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
        pictures.write(comparison(gallery, shown), out / "comparison.png")
    return evaluation
