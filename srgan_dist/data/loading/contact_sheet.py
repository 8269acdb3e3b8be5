"""Contact sheets of training crops, to check by eye that HR and LR show the same area."""

import numpy as np
import torch
from PIL import Image, ImageDraw

from srgan_dist.data.degradations import RealESRGANDegradation
from srgan_dist.data.degradations.draws import Draws
from srgan_dist.data.loading.crop_plan import Crops
from srgan_dist.data.loading.prefetch import to_device
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


def degradation_sheet(
    location: str, split: Split, count: int, hr_crop: int, seed: int, degradation: RealESRGANDegradation
) -> Pixels:
    """Draw what a degradation makes of the first `count` crops of a run: HR and LR side by side, two crops per row.

    Args:
        location: folder or URL of the shards.
        hr_crop: side of a crop in HR pixels; a multiple of the scale.
        seed: seed of the run.

    Returns:
        The sheet, (H, W, 3) uint8 RGB.

    Raises:
        ValueError: see `contact_sheet`.
    """
    shards = ShardSet((location,), split)
    scale = shards.scale
    reader = CropReader(shards, hr_crop, seed, margin=degradation.margin_at(scale))
    raw = reader.empty(count, pinned=False)
    reader.fill(raw, 0)
    pair = to_device(raw, torch.device("cpu"))
    made = degradation.build(scale, seed)(pair.hr, raw.indices, pair.offsets)
    draws = degradation.draw(seed, raw.indices)
    sheet = Image.new("RGB", (4 * (_CELL + _GAP) + _GAP, _HEAD + (count + 1) // 2 * (_CELL + _TEXT + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column in range(4):
        title = f"LR {hr_crop // scale}" if column % 2 else f"HR {hr_crop}"
        draw.text((_GAP + column * (_CELL + _GAP), 8), title, "black")
    for n, (hr, lr) in enumerate(zip(made.hr, made.lr, strict=True)):
        left, top = _GAP + n % 2 * 2 * (_CELL + _GAP), _HEAD + n // 2 * (_CELL + _TEXT + _GAP)
        for k, image in enumerate((hr, lr)):
            pixels = (image.permute(1, 2, 0) * 255).round().byte().contiguous().numpy()
            cell = Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.NEAREST)
            sheet.paste(cell, (left + k * (_CELL + _GAP), top))
        draw.text((left, top + _CELL + 2), _stages(draws, n), "black")
    return np.asarray(sheet)


def _stages(draws: Draws, n: int) -> str:
    """Describe both stages of crop number `n`: the factor of the resize, noise, and the quality of JPEG."""
    stages: list[str] = []
    for stage in (draws.first, draws.second):
        gaussian, strength, quality = stage.gaussian[n], float(stage.strength[n]), int(stage.quality[n])
        noise = f"Gaussian {255 * strength:.0f}" if gaussian else f"Poisson {strength:.1f}"
        parts = [
            f"x{stage.factor[n]:.2f}",
            noise if strength else "no noise",
            f"JPEG {quality}" if quality else "no JPEG",
        ]
        stages.append(", ".join(parts))
    return "; then ".join(stages)
