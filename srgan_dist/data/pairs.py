"""Pairs of images: HR is exactly `scale` times LR."""

from pathlib import Path

import numpy as np

from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel, crop_to_multiple, downscale


def load_pair(
    hr_file: Path, lr_file: Path | None, scale: int, kernel: Kernel = "matlab-mirror", *, crop_hr: bool = False,
    max_pixels: int | None = None,
) -> tuple[Pixels, Pixels]:  # fmt: skip
    """Read HR and LR, (s*h, s*w, 3) and (h, w, 3) uint8 RGB; without an LR file, downscale LR from HR.

    Args:
        kernel: bicubic kernel that makes LR if there is no LR file.
        crop_hr: see `match_pair`.
        max_pixels: largest number of pixels of an image; None for as many as the free memory can hold.

    Raises:
        ValueError: a file cannot be read, HR is smaller than `scale`, or as `match_pair`.
    """
    hr = images.read(hr_file, max_pixels)
    if lr_file is None:
        hr = crop_for_downscaling(hr, scale, str(hr_file))
        return hr, downscale(hr, scale, kernel)
    return match_pair(hr, images.read(lr_file, max_pixels), scale, f"{hr_file}", f" ({lr_file})", crop_hr=crop_hr)


def crop_for_downscaling(hr: Pixels, scale: int, name: str) -> Pixels:
    """Return the top left part of HR whose sides are multiples of `scale`.

    Raises:
        ValueError: a side of HR is shorter than `scale` pixels; `name` names HR in the message.
    """
    cropped = np.ascontiguousarray(crop_to_multiple(hr, scale))
    if 0 in cropped.shape:
        raise ValueError(f"{name}: {hr.shape[1]}x{hr.shape[0]} is smaller than scale={scale}")
    return cropped


def match_pair(
    hr: Pixels, lr: Pixels, scale: int, name: str, lr_name: str = "", *, crop_hr: bool = False
) -> tuple[Pixels, Pixels]:
    """Check the sizes of HR and LR, (H, W, 3) and (h, w, 3), and return both; crop HR only if asked.

    Args:
        name: name of the pair in errors.
        lr_name: text that follows the sizes in errors.
        crop_hr: crop up to `scale` - 1 extra pixels of HR at the right and bottom, because LR was made from the part
            whose sides are multiples of the scale. If False, such a pair is an error, too.

    Raises:
        ValueError: HR is not `scale` times LR.
    """
    (height, width), (h, w) = hr.shape[:2], lr.shape[:2]
    if (height, width) == (h * scale, w * scale):
        return hr, lr
    croppable = 0 <= height - h * scale < scale and 0 <= width - w * scale < scale
    if croppable and crop_hr:
        return np.ascontiguousarray(hr[: h * scale, : w * scale]), lr
    hint = "; --crop-hr crops it" if croppable else _scale_hint(height / h, width / w)
    raise ValueError(f"{name}: hr {width}x{height} is not {scale} x lr {w}x{h}{lr_name}{hint}")


def _scale_hint(vertical: float, horizontal: float) -> str:
    """Return a hint at the scale of a pair from the ratios of its sides, empty if they are not one integer."""
    if vertical == horizontal == round(vertical) and vertical > 1:
        return f"; this pair is at scale {vertical:.0f}: pass --scale {vertical:.0f}"
    return ""
