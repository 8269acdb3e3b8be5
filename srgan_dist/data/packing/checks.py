"""Validation of every image of a source before anything is written."""

import hashlib
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple, TypeVar

import numpy as np

from srgan_dist.data.packing.alignment import alignment_problem
from srgan_dist.data.packing.pairing import Item
from srgan_dist.data.packing.sources import Source
from srgan_dist.data.pairs import crop_for_downscaling, load_pair
from srgan_dist.data.shards.manifest import SPLITS, Split
from srgan_dist.distributed.group import Group, ProgressFn
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel, downscale

T = TypeVar("T")
Map = Callable[[Callable[[Any], T], Sequence[Any]], Iterable[T]]
"""Like `map`; the results come in order and have a length."""

_STANDARD_KERNELS: tuple[Kernel, ...] = ("matlab-mirror", "matlab-clamp")


class Rules(NamedTuple):
    """What makes an image valid."""

    scale: int
    kernel: Kernel
    min_side: int
    """Smallest HR side in pixels."""
    aligned: bool
    """Whether LR must not be shifted or scaled against HR."""
    crop_hr: bool
    """Whether HR may have up to `scale` - 1 pixels more than `scale` times LR, which are then cropped."""
    max_pixels: int | None = None
    """Largest number of pixels of an image; None for as many as the free memory can hold."""


class Checked(NamedTuple):
    """The result of reading an image once."""

    item: Item
    split: Split
    hr: tuple[int, int] = (0, 0)
    """Height and width of HR."""
    kernels: tuple[Kernel, ...] = ()
    """Bicubic kernels that give exactly this LR; none if the source has another LR."""
    digest: bytes = b""
    """SHA-256 of the pixels of HR, and of LR if the source has it."""
    problem: str = ""
    """Why the image is invalid, with its file; empty if it is valid."""


def check(source: Source, splits: tuple[Split, ...], limit: int | None, rules: Rules, group: Group, run: Map[Checked],
          progress: ProgressFn) -> list[Checked]:  # fmt: skip
    """Check every image of the source; return the results in the order of the source, the same on every process.

    Args:
        limit: images per split, from the first on; None for all.
        group: processes that share the work; all of them must call `check`.
        run: `map` over the worker processes of this process, see `workers`.

    Raises:
        ValueError: the source has no image, or as `Source.items`.
    """
    images_and_splits = [(i, s) for s in SPLITS if s in splits for i in source.items(s, rules.scale, limit)[:limit]]
    if not images_and_splits:
        raise ValueError(f"{source.label}: no image to pack")
    numbers = range(group.rank, len(images_and_splits), group.size)
    mine = run(partial(check_one, rules=rules), [images_and_splits[n] for n in numbers])
    numbered = list(zip(numbers, progress(mine, "checking images"), strict=True))
    from_all = sorted(group.gather(numbered), key=lambda pair: pair[0])
    return _mark_duplicates([c for _, c in from_all])


def check_one(image_and_split: tuple[Item, Split], rules: Rules) -> Checked:
    """Read one image, and its LR if the source has it, and validate them. Errors become `Checked.problem`."""
    item, split = image_and_split
    try:
        hr, lr = load(item, rules)
        problem, kernels = _validate(item, hr, lr, rules)
    except ValueError as error:
        return Checked(item, split, problem=str(error))
    digest = hashlib.sha256(hr.data)
    if lr is not None:
        digest.update(np.ascontiguousarray(lr).data)
    return Checked(item, split, hr.shape[:2], kernels, digest.digest(), problem)


def _validate(item: Item, hr: Pixels, lr: Pixels | None, rules: Rules) -> tuple[str, tuple[Kernel, ...]]:
    """Return the problem, empty if there is none, and the kernels that explain LR exactly."""
    if min(hr.shape[:2]) < rules.min_side:
        return f"{item.hr}: {hr.shape[1]}x{hr.shape[0]}, smaller than --min-side {rules.min_side}", ()
    if lr is None:
        return "", (rules.kernel,)
    kernels: tuple[Kernel, ...] = tuple(
        k for k in _STANDARD_KERNELS if np.array_equal(downscale(hr, rules.scale, k), lr)
    )
    problem = alignment_problem(hr, lr, rules.scale) if rules.aligned and not kernels else ""
    return (f"{item.hr}: {problem} ({item.lr}); --allow-misaligned accepts it" if problem else ""), kernels


def _mark_duplicates(checked: list[Checked]) -> list[Checked]:
    """Return the results with a problem for every valid image whose pixels equal an earlier one's."""
    first: dict[bytes, Checked] = {}
    marked: list[Checked] = []
    for c in checked:
        if not c.problem and (twin := first.setdefault(c.digest, c)) is not c:
            c = c._replace(problem=f"{c.item.hr}: the same image as {twin.item.hr}")
        marked.append(c)
    return marked


def common_degradation(good: list[Checked]) -> str:
    """Return the bicubic kernel that gives exactly the LR of all these images, or `given` if there is none."""
    common = set(good[0].kernels)
    for c in good:
        common &= set(c.kernels)
    return min(common, key=_priority) if common else "given"


def _priority(kernel: Kernel) -> int:
    return _STANDARD_KERNELS.index(kernel) if kernel in _STANDARD_KERNELS else len(_STANDARD_KERNELS)


def load(item: Item, rules: Rules) -> tuple[Pixels, Pixels | None]:
    """Read HR, and LR if the item has it, (H, W, 3) and (h, w, 3) uint8 RGB; crop HR as `rules` allow.

    Raises:
        ValueError: the item has a known problem, or as `load_pair`.
    """
    if item.problem:
        raise ValueError(item.problem)
    if item.lr is None:
        return crop_for_downscaling(images.read(item.hr, rules.max_pixels), rules.scale, str(item.hr)), None
    return load_pair(item.hr, item.lr, rules.scale, crop_hr=rules.crop_hr, max_pixels=rules.max_pixels)


@contextmanager
def workers(count: int) -> Generator[Map[Any], None, None]:
    """Provide a `map` over `count` worker processes; with one, over this process."""
    if count <= 1:
        yield lambda function, items: _Sized(map(function, items), len(items))
        return
    with ProcessPoolExecutor(count, _context()) as pool:
        yield lambda function, items: _Sized(pool.map(function, items), len(items))


def _context() -> BaseContext:
    """Return how to start workers. Forking is fast, but copies locks that other threads hold: only without any."""
    if sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules:
        return get_context("fork")
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["srgan_dist.data.packing.pack"])
    return context


class _Sized:
    """Lazy results with a length, for a progress bar."""

    def __init__(self, results: Iterable[Any], count: int) -> None:
        self._results, self._count = results, count

    def __iter__(self) -> Iterator[Any]:
        return iter(self._results)

    def __len__(self) -> int:
        return self._count
