"""Random crops of held-out images by every method, drawn side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srgan_dist.evaluation import metrics
from srgan_dist.evaluation.evaluate import Method, interpolation, matching_evaluation_set, model_methods
from srgan_dist.evaluation.evaluation_set import ImagePair
from srgan_dist.evaluation.figure import Cell, Square, busiest_square, draw
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Interpolation
from srgan_dist.models.files import load_generator

_CONTEXT = 32
"""LR pixels around a crop that the methods see as well, so that its border looks as in the complete image."""
_AREA = 3
"""Side of the random area in which a crop is chosen, in sides of the crop."""


def draw_random_samples(
    data: Path, models: Sequence[Path], count: int = 3, side: int = 128, *,
    against: Sequence[Interpolation] = ("bilinear", "bicubic"), seed: int | None = None, device: str = "cpu",
) -> Pixels:  # fmt: skip
    """Draw random crops of held-out images, one per row: LR, every method's result with its PSNR-Y, and HR.

    Of a random area of a random image, the crop with the most detail is drawn.

    Args:
        data: The held-out images; see `evaluate.evaluate`.
        models: Run directories, checkpoints, exported generators or published files.
        count: Number of crops.
        side: Side of a crop in HR pixels; smaller images are drawn as far as they reach.
        against: Interpolations to draw as well. LR itself is drawn as by nearest.
        seed: Choose the same crops at every call; by default, every call draws other ones.
        device: The torch device to run on.

    Returns:
        The figure, (H, W, 3) uint8 RGB.

    Raises:
        ValueError: If there are no images, or the models have different scales.
    """
    opened = [load_generator(model) for model in models]
    held_out = matching_evaluation_set(data, opened, None)
    methods: dict[str, Method] = {name: interpolation(name, held_out.scale) for name in against}
    methods |= model_methods(opened, models, device)
    rng = np.random.default_rng(seed)
    pairs = [held_out.read(int(i)) for i in rng.choice(held_out.count, count, replace=held_out.count < count)]
    rows = [_row(pair, methods, held_out.scale, side // held_out.scale * held_out.scale, rng) for pair in pairs]
    return draw(rows, [f"x{held_out.scale}, random held-out crops of {side} x {side} HR pixels; PSNR-Y of the crop"])


def _row(pair: ImagePair, methods: dict[str, Method], scale: int, side: int, rng: np.random.Generator) -> list[Cell]:
    """Return the cells of one random crop."""
    crop = _random_square(pair.hr, scale, side, rng)
    around = Square(max(0, crop.y - _CONTEXT * scale), max(0, crop.x - _CONTEXT * scale), crop.side)
    inside = Square(crop.y - around.y, crop.x - around.x, crop.side)
    area = pair.lr[
        around.y // scale : (crop.y + crop.side) // scale + _CONTEXT,
        around.x // scale : (crop.x + crop.side) // scale + _CONTEXT,
    ]
    results = {name: inside.cut(method(area)) for name, method in methods.items()}
    lr, hr = crop.cut(pair.lr, scale), crop.cut(pair.hr)
    row = [Cell(name, sr, {"psnr_y": metrics.scores(sr, hr, scale)["psnr_y"]}) for name, sr in results.items()]
    return [Cell(f"LR of {pair.name}", lr.repeat(scale, axis=0).repeat(scale, axis=1)), *row, Cell("HR", hr)]


def _random_square(hr: Pixels, scale: int, side: int, rng: np.random.Generator) -> Square:
    """Return the square with the most detail in a random area; its corner and side are multiples of `scale`."""
    height, width = (min(_AREA * side, n) for n in hr.shape[:2])
    y, x = (int(rng.integers(0, n - m + 1)) // scale * scale for n, m in zip(hr.shape, (height, width), strict=False))
    found = busiest_square(hr[y : y + height, x : x + width], side, scale)
    return Square(y + found.y, x + found.x, found.side)
