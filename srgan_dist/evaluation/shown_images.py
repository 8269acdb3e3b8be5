"""The few images of an evaluation that are looked at: kept while they are in memory, so that none is made twice."""

import heapq
from typing import NamedTuple

import numpy as np

from srgan_dist.distributed.group import Group
from srgan_dist.evaluation.evaluation_set import ImagePair
from srgan_dist.evaluation.figure import Cell, best_square, cells
from srgan_dist.evaluation.metrics import Scores
from srgan_dist.evaluation.report import ImageComparison
from srgan_dist.imaging.images import Pixels

_STEP = 16
"""HR pixels between the squares that are tried."""


class FigureRow(NamedTuple):
    """One image's row of the comparison figure."""

    name: str
    cells: list[Cell]


class ShownImages:
    """Watch an evaluation; keep the images in which the models differ most, and the first ones for the figure.

    Args:
        trained: the methods that are models; one alone is compared with bicubic.
        count: how many images to keep of those in which PSNR-Y differs most.
        side: HR pixels; of larger images the square of this side in which the models differ most is kept.
        figure_rows: how many images, from the first on, to keep for the figure.
    """

    def __init__(self, scale: int, trained: list[str], count: int, side: int, figure_rows: int = 0) -> None:
        self._scale, self._trained, self._side = scale, trained, side
        self._count, self._figure_rows = count, figure_rows
        self._compared = trained if len(trained) > 1 else [*trained, "bicubic"]
        self._most_different: list[tuple[float, int, ImageComparison]] = []
        """A heap of the PSNR's spread, the image's number, and what is shown of it."""
        self._rows: list[tuple[int, FigureRow]] = []

    def __call__(self, number: int, pair: ImagePair, results: dict[str, Pixels], scores: dict[str, Scores]) -> None:
        """Keep what is to be shown of an image; see `evaluate.ObserveFn`."""
        if number < self._figure_rows:
            shown = {name: sr for name, sr in results.items() if name != "nearest"}  # LR stands there already
            self._rows.append((number, FigureRow(pair.name, cells(pair.lr, pair.hr, shown, self._scale))))
        psnr = {name: found["psnr_y"] for name, found in scores.items()}
        compared = [psnr[name] for name in self._compared if name in psnr] or [0.0]
        spread = max(compared) - min(compared) if max(compared) > min(compared) else 0.0  # both may be infinite
        if len(self._most_different) < self._count:
            heapq.heappush(self._most_different, (spread, number, self._compare(pair, results, psnr)))
        elif self._count and (spread, number) > self._most_different[0][:2]:
            heapq.heapreplace(self._most_different, (spread, number, self._compare(pair, results, psnr)))

    def _compare(self, pair: ImagePair, results: dict[str, Pixels], psnr: dict[str, float]) -> ImageComparison:
        """Return an image by every method or, where it is large, the square in which the models differ most."""
        s = self._scale
        lr = np.repeat(np.repeat(pair.lr, s, 0), s, 1)
        complete = ImageComparison(pair.name, lr, pair.hr, results, self._trained, psnr)
        if max(pair.hr.shape[:2]) <= self._side:
            return complete
        square = best_square(complete.difference(), self._side, step=s * max(1, _STEP // s))
        cut = {name: square.cut(image).copy() for name, image in results.items()}
        name = f"{pair.name}, {square.side}x{square.side} at x={square.x} y={square.y}"
        return ImageComparison(name, square.cut(lr).copy(), square.cut(pair.hr).copy(), cut, self._trained, psnr)

    def gather(self, group: Group) -> tuple[list[ImageComparison], list[FigureRow]]:
        """Return what all processes kept, in the order of the images, on each of them."""
        kept = heapq.nlargest(self._count, group.gather(self._most_different), key=lambda entry: entry[:2])
        comparisons = [comparison for _, _, comparison in sorted(kept, key=lambda entry: entry[1])]
        rows = [row for _, row in sorted(group.gather(self._rows), key=lambda entry: entry[0])]
        return comparisons, rows
