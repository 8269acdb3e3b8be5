"""Contact sheets of training crops, to check by eye that HR and LR show the same area."""

import numpy as np
from PIL import Image, ImageDraw

from srgan_dist.data.loading.crop_plan import Crops
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.shards.manifest import Split
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import interpolate

_CELL = 288
_GAP, _TEXT, _HEAD = 8, 16, 26
_RED = (230, 30, 30)


def contact_sheet(location: str, split: Split, count: int, hr_crop: int, seed: int) -> Pixels:
    """Draw the first `count` crops of a run, one per row: the entire image with the crop outlined, HR, LR, difference.

    Args:
        location: folder or URL of the shards.
        hr_crop: side of a crop in HR pixels; a multiple of the scale.
        seed: seed of the run.

    Returns:
        The sheet, (H, W, 3) uint8 RGB.

    Raises:
        ValueError: there are no such shards, or an image is smaller than the crop.
    """
    shards = ShardSet((location,), split)
    crops = CropReader(shards, hr_crop, seed).plan(np.arange(count, dtype=np.uint64))
    sheet = Image.new("RGB", (4 * (_CELL + _GAP) + _GAP, _HEAD + count * (_CELL + _TEXT + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    columns = ("whole image", f"HR {hr_crop}", f"LR {hr_crop // shards.scale}", "HR minus upscaled LR, times 4")
    for c, title in enumerate(columns):
        draw.text((_GAP + c * (_CELL + _GAP), 8), title, "black")
    for row in range(count):
        top = _HEAD + row * (_CELL + _TEXT + _GAP)
        for c, cell in enumerate(_cells(shards, crops, row, hr_crop)):
            sheet.paste(cell, (_GAP + c * (_CELL + _GAP), top))
        draw.text((_GAP, top + _CELL + 2), _caption(shards, crops, row), "black")
    return np.asarray(sheet)


def _cells(shards: ShardSet, crops: Crops, row: int, hr_crop: int) -> list[Image.Image]:
    """Draw the four cells of a row; the last is 4 * (HR - bicubic LR) around mid-gray."""
    image, y, x, s = int(crops.image[row]), int(crops.y[row]), int(crops.x[row]), shards.scale
    c = hr_crop // s
    hr = shards.hr(image)[y * s : (y + c) * s, x * s : (x + c) * s]
    lr = np.ascontiguousarray(shards.lr(image)[y : y + c, x : x + c])
    difference = (hr.astype(np.int16) - interpolate(lr, s, "bicubic")) * 4 + 128
    side = (_CELL, _CELL)
    hr_and_lr = [Image.fromarray(p).resize(side, Image.Resampling.NEAREST) for p in (np.ascontiguousarray(hr), lr)]
    difference_cell = Image.fromarray(difference.clip(0, 255).astype(np.uint8)).resize(side, Image.Resampling.NEAREST)
    return [_overview(shards.hr(image), y * s, x * s, hr_crop), *hr_and_lr, difference_cell]


def _overview(hr: Pixels, y: int, x: int, side: int) -> Image.Image:
    """Draw the entire image, scaled to fit a cell, with the crop outlined."""
    cell = Image.new("RGB", (_CELL, _CELL), "white")
    zoom = _CELL / max(hr.shape[:2])
    size = (max(1, round(hr.shape[1] * zoom)), max(1, round(hr.shape[0] * zoom)))
    cell.paste(Image.fromarray(hr).resize(size, Image.Resampling.BILINEAR))
    corners = [round(v * zoom) for v in (x, y, x + side, y + side)]
    ImageDraw.Draw(cell).rectangle(corners, outline=_RED, width=2)
    return cell


def _caption(shards: ShardSet, crops: Crops, row: int) -> str:
    s = shards.scale
    return f"{shards.describe(int(crops.image[row]))}   y {crops.y[row] * s}, x {crops.x[row] * s} (HR)"
