"""The images of an evaluation that are shown, kept while they are in memory so that none is computed twice."""

import heapq

import numpy as np

from srgan_dist.distributed.group import Group
from srgan_dist.evaluation.evaluation_set import ImagePair
from srgan_dist.evaluation.figure import Cell, best_square, cells
from srgan_dist.evaluation.metrics import Scores
from srgan_dist.evaluation.naturalness import original_naturalness
from srgan_dist.evaluation.report import ImageComparison
from srgan_dist.imaging.images import Pixels

_STEP = 16
"""Distance between candidate squares, in HR pixels."""
_FEW = 2
"""Number of models up to which the figure has room for bilinear interpolation, too."""


class ShownImages:
    """Observes an evaluation and keeps the images in which the models differ most, and the first ones for the figure.

    Args:
        scale: Upscaling factor.
        trained: The methods that are models. A single model is compared with bicubic, or without it with all other
            methods, or with the original if there are none: then the images with the lowest PSNR-Y are kept.
        count: Number of images to keep: those with the largest differences in PSNR-Y.
        side: Of larger images, only the square of this side in which the models differ most is kept, in HR pixels.
        figure_rows: Number of images to keep for the figure, starting with the first.
    """

    def __init__(self, scale: int, trained: list[str], count: int, side: int, figure_rows: int = 0) -> None:
        self._scale, self._trained, self._side = scale, trained, side
        self._count, self._figure_rows = count, figure_rows
        self._most_different: list[tuple[float, int, ImageComparison]] = []
        """A heap of (range of PSNR-Y in dB, image index, comparison)."""
        self._rows: list[tuple[int, list[Cell]]] = []

    def __call__(self, index: int, pair: ImagePair, results: dict[str, Pixels], scores: dict[str, Scores]) -> None:
        """Keep an image if it is to be shown; see `evaluate.ObserveFn`."""
        if index < self._figure_rows:
            left_out = {"nearest"} | ({"bilinear"} if len(self._trained) > _FEW else set())
            shown = {name: sr for name, sr in results.items() if name not in left_out}
            original = original_naturalness(pair.hr, self._scale)
            self._rows.append((index, cells(pair.name, pair.hr, shown, scores, original, self._scale)))
        psnr = {name: found["psnr_y"] for name, found in scores.items()}
        spread = self._spread(psnr)
        if len(self._most_different) < self._count:
            heapq.heappush(self._most_different, (spread, index, self._compare(pair, results, psnr)))
        elif self._count and (spread, index) > self._most_different[0][:2]:
            heapq.heapreplace(self._most_different, (spread, index, self._compare(pair, results, psnr)))

    def _spread(self, psnr: dict[str, float]) -> float:
        compared = [psnr[name] for name in self._compared_methods(psnr)]
        if len(compared) == 1:
            return -compared[0]
        return max(compared) - min(compared) if max(compared) > min(compared) else 0.0  # both may be infinite

    def _compared_methods(self, psnr: dict[str, float]) -> list[str]:
        if len(self._trained) > 1:
            return self._trained
        return [*self._trained, "bicubic"] if "bicubic" in psnr else list(psnr)

    def _compare(self, pair: ImagePair, results: dict[str, Pixels], psnr: dict[str, float]) -> ImageComparison:
        """Return an image by every method, or only the square in which the models differ most if the image is large."""
        s = self._scale
        lr = np.repeat(np.repeat(pair.lr, s, 0), s, 1)
        complete = ImageComparison(pair.name, lr, pair.hr, results, self._trained, psnr)
        if max(pair.hr.shape[:2]) <= self._side:
            return complete
        square = best_square(complete.difference(), self._side, step=s * max(1, _STEP // s))
        cut = {name: square.cut(image).copy() for name, image in results.items()}
        name = f"{pair.name}, {square.side}x{square.side} at x={square.x} y={square.y}"
        return ImageComparison(name, square.cut(lr).copy(), square.cut(pair.hr).copy(), cut, self._trained, psnr)

    def gather(self, group: Group) -> tuple[list[ImageComparison], list[list[Cell]]]:
        """Return the images and figure rows that all processes kept, in the order of the images, on every process."""
        kept = heapq.nlargest(self._count, group.gather(self._most_different), key=lambda entry: entry[:2])
        comparisons = [comparison for _, _, comparison in sorted(kept, key=lambda entry: entry[1])]
        rows = [row for _, row in sorted(group.gather(self._rows), key=lambda entry: entry[0])]
        return comparisons, rows
