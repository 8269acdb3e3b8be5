"""The comparison figure: one crop of each image by every method, side by side, with its PSNR."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from srgan_dist.evaluation.metrics import luma, psnr
from srgan_dist.imaging.images import Pixels

_CELL, _GAP, _TEXT = 288, 8, 24


@dataclass(frozen=True)
class Cell:
    """A square crop at HR size, by one method."""

    method: str
    image: Pixels
    psnr_y: float | None = None
    """PSNR of the crop's luma in dB; None for LR and HR."""


@dataclass(frozen=True)
class Square:
    """A square of an HR image, in pixels."""

    y: int
    x: int
    side: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns, as slices."""
        return slice(self.y, self.y + self.side), slice(self.x, self.x + self.side)

    def cut(self, image: Pixels, scale: int = 1) -> Pixels:
        """Return a view of the square in an image (H/scale, W/scale, 3) that is `scale` times smaller than HR."""
        y, x, side = self.y // scale, self.x // scale, self.side // scale
        return image[y : y + side, x : x + side]


def busiest_square(hr: Pixels, side: int, scale: int) -> Square:
    """Return the square with the most detail: the one with the largest sum of luma gradients.

    Its corner is at multiples of `scale`.
    """
    # Clipped, so that one hard edge does not outweigh texture.
    gradient = np.abs(np.gradient(luma(hr))).sum(axis=0).clip(0, 24)
    side = min(side, *(n // scale * scale for n in hr.shape[:2]))
    return best_square(gradient, side, step=scale * max(1, 8 // scale))


def best_square(weights: NDArray[np.float64], side: int, step: int) -> Square:
    """Return the square with the largest sum of `weights` (H, W).

    Its corner is at multiples of `step`. Its side is limited to the image's.
    """
    side = min(side, *weights.shape)
    table = np.pad(weights.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    sums = sums[::step, ::step]
    y, x = np.unravel_index(int(sums.argmax()), sums.shape)
    return Square(int(y) * step, int(x) * step, side)


def cells(lr: Pixels, hr: Pixels, results: dict[str, Pixels], scale: int, side: int = 96) -> list[Cell]:
    """Return a row of the figure: LR, each method's result and HR, cropped to the square with the most detail."""
    square = busiest_square(hr, side, scale)
    original = square.cut(hr)
    row = [Cell("LR", np.repeat(np.repeat(square.cut(lr, scale), scale, 0), scale, 1))]
    for method, sr in results.items():
        cut = square.cut(sr)
        row.append(Cell(method, cut, psnr(luma(cut), luma(original))))
    return [*row, Cell("HR", original)]


def draw(rows: Sequence[Sequence[Cell]], names: Sequence[str], footnote: str) -> Pixels:
    """Draw all rows into one image, (H, W, 3) uint8 RGB, with `names` as the rows' labels and a footnote."""
    columns = max(len(row) for row in rows)
    width = columns * (_CELL + _GAP) + _GAP
    height = len(rows) * (_CELL + _GAP + _TEXT) + 2 * _TEXT
    sheet = Image.new("RGB", (width, height), "white")
    pen, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(17), ImageFont.load_default(14)
    for r, (row, name) in enumerate(zip(rows, names, strict=True)):
        top = r * (_CELL + _GAP + _TEXT) + _GAP
        for c, cell in enumerate(row):
            left = c * (_CELL + _GAP) + _GAP
            quality = "" if cell.psnr_y is None else f"  {cell.psnr_y:.2f} dB"
            title = f"{name}: {cell.method}" if c == 0 else cell.method + quality
            pen.text((left, top), title, "black", font=font)
            zoomed = Image.fromarray(cell.image).resize((_CELL, _CELL), Image.Resampling.NEAREST)
            sheet.paste(zoomed, (left, top + _TEXT))
    pen.text((_GAP, height - _TEXT - 4), footnote, "dimgray", font=small)
    return np.asarray(sheet)
