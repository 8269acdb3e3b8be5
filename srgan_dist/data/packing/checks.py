"""Looks at every image of a source once, before anything is written, and gathers what is wrong."""

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

from srgan_dist.data.packing.alignment import misplaced
from srgan_dist.data.packing.sources import Item, Source
from srgan_dist.data.pairs import crop_for_downscaling, load_pair
from srgan_dist.data.shards.manifest import SPLITS, Split
from srgan_dist.distributed.group import Group, ProgressFn
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel, downscale

T = TypeVar("T")
Map = Callable[[Callable[[Any], T], Sequence[Any]], Iterable[T]]

_OF_RECORD: tuple[Kernel, ...] = ("matlab-mirror", "matlab-clamp")


class Rules(NamedTuple):
    """What an image must be to be packed."""

    scale: int
    kernel: Kernel
    min_side: int
    """HR pixels."""
    aligned: bool
    crop_hr: bool
    """Whether HR may have a few pixels more than `scale` times LR."""


class Checked(NamedTuple):
    """An image that was read once: its size, or what is wrong with it."""

    item: Item
    split: Split
    hr: tuple[int, int] = (0, 0)
    kernels: tuple[Kernel, ...] = ()
    """The bicubics that its LR may be, in every value; none for another LR that the source gave."""
    digest: bytes = b""
    """Of the pixels of HR and LR."""
    problem: str = ""


def check(source: Source, splits: tuple[Split, ...], limit: int | None, rules: Rules, group: Group, run: Map[Checked],
          progress: ProgressFn) -> list[Checked]:  # fmt: skip
    """Every image of the source, in its order, the same list on every process.

    Raises:
        ValueError: the source has no image.
    """
    found = [(i, s) for s in SPLITS if s in splits for i in source.items(s, rules.scale, limit)[:limit]]
    if not found:
        raise ValueError(f"{source.label}: no image to pack")
    numbers = range(group.rank, len(found), group.size)
    mine = run(partial(check_one, rules=rules), [found[n] for n in numbers])
    numbered = list(zip(numbers, progress(mine, "checking images"), strict=True))
    everything = sorted(group.gather(numbered), key=lambda pair: pair[0])
    return _mark_duplicates([c for _, c in everything])


def check_one(found: tuple[Item, Split], rules: Rules) -> Checked:
    """Reads one image (and its partner)."""
    item, split = found
    try:
        hr, lr = load(item, rules)
        problem, kernels = _judge(item, hr, lr, rules)
    except ValueError as error:
        return Checked(item, split, problem=str(error))
    digest = hashlib.sha256(hr.data)
    if lr is not None:
        digest.update(np.ascontiguousarray(lr).data)
    return Checked(item, split, hr.shape[:2], kernels, digest.digest(), problem)


def _judge(item: Item, hr: Pixels, lr: Pixels | None, rules: Rules) -> tuple[str, tuple[Kernel, ...]]:
    if min(hr.shape[:2]) < rules.min_side:
        return f"{item.hr}: {hr.shape[1]}x{hr.shape[0]}, smaller than --min-side {rules.min_side}", ()
    if lr is None:
        return "", (rules.kernel,)
    kernels: tuple[Kernel, ...] = tuple(k for k in _OF_RECORD if np.array_equal(downscale(hr, rules.scale, k), lr))
    wrong = misplaced(hr, lr, rules.scale) if rules.aligned and not kernels else ""
    return (f"{item.hr}: {wrong} ({item.lr})" if wrong else ""), kernels


def _mark_duplicates(checked: list[Checked]) -> list[Checked]:
    first: dict[bytes, Checked] = {}
    marked: list[Checked] = []
    for c in checked:
        if not c.problem and (twin := first.setdefault(c.digest, c)) is not c:
            c = c._replace(problem=f"{c.item.hr}: the same image as {twin.item.hr}")
        marked.append(c)
    return marked


def made_by(good: list[Checked]) -> str:
    """How the LR images were made: the bicubic that explains all of them in every value, else `given`."""
    common = set(good[0].kernels)
    for c in good:
        common &= set(c.kernels)
    return min(common, key=_order) if common else "given"


def _order(kernel: Kernel) -> int:
    return _OF_RECORD.index(kernel) if kernel in _OF_RECORD else len(_OF_RECORD)


def load(item: Item, rules: Rules) -> tuple[Pixels, Pixels | None]:
    """Return HR and, where the source has one, LR of an item.

    Raises:
        ValueError: what is known to be wrong with it; or see `load_pair`.
    """
    if item.problem:
        raise ValueError(item.problem)
    if item.lr is None:
        return crop_for_downscaling(images.read(item.hr), rules.scale, str(item.hr)), None
    return load_pair(item.hr, item.lr, rules.scale, crop_hr=rules.crop_hr)


@contextmanager
def workers(count: int) -> Generator[Map[Any], None, None]:
    """A `map` over so many processes, results in order; with one, in this one."""
    if count <= 1:
        yield lambda function, items: _Sized(map(function, items), len(items))
        return
    with ProcessPoolExecutor(count, _context()) as pool:
        yield lambda function, items: _Sized(pool.map(function, items), len(items))


def _context() -> BaseContext:
    """Forking is instant, but copies the locks that other threads hold: only where there are none."""
    if sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules:
        return get_context("fork")
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["srgan_dist.data.packing.pack"])
    return context


class _Sized:
    """Results to come, and how many: a progress bar wants to know."""

    def __init__(self, results: Iterable[Any], count: int) -> None:
        self._results, self._count = results, count

    def __iter__(self) -> Iterator[Any]:
        return iter(self._results)

    def __len__(self) -> int:
        return self._count
