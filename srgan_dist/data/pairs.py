"""The one rule for a pair of images: HR is exactly `scale` times LR."""

from pathlib import Path

import numpy as np

from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import Kernel, crop_to_multiple, downscale


def load_pair(
    hr_file: Path, lr_file: Path | None, scale: int, kernel: Kernel = "matlab-mirror", *, crop_hr: bool = False
) -> tuple[Pixels, Pixels]:
    """Read HR and LR, both (H, W, 3) uint8 RGB; without an LR file, make LR from HR.

    Args:
        kernel: makes LR.
        crop_hr: see `match_pair`.

    Raises:
        ValueError: a file cannot be read, or see `match_pair`.
    """
    hr = images.read(hr_file)
    if lr_file is None:
        hr = crop_for_downscaling(hr, scale, str(hr_file))
        return hr, downscale(hr, scale, kernel)
    return match_pair(hr, images.read(lr_file), scale, f"{hr_file}", f" ({lr_file})", crop_hr=crop_hr)


def crop_for_downscaling(hr: Pixels, scale: int, name: str) -> Pixels:
    """Return the top left part of HR whose sides are multiples of `scale`.

    Raises:
        ValueError: HR has fewer pixels than `scale` on a side.
    """
    cropped = np.ascontiguousarray(crop_to_multiple(hr, scale))
    if 0 in cropped.shape:
        raise ValueError(f"{name}: {hr.shape[1]}x{hr.shape[0]} is smaller than scale={scale}")
    return cropped


def match_pair(
    hr: Pixels, lr: Pixels, scale: int, name: str, lr_name: str = "", *, crop_hr: bool = False
) -> tuple[Pixels, Pixels]:
    """Return HR and LR after checking their sizes.

    Args:
        name: of the pair, for errors; `lr_name` follows the sizes.
        crop_hr: where HR has up to `scale` - 1 pixels more on the right and at the bottom, cut them off: LR was made of
            the part whose sides are multiples of the scale. Otherwise such a pair is an error, like any other.

    Raises:
        ValueError: HR is not `scale` times LR.
    """
    (height, width), (h, w) = hr.shape[:2], lr.shape[:2]
    if (height, width) == (h * scale, w * scale):
        return hr, lr
    croppable = 0 <= height - h * scale < scale and 0 <= width - w * scale < scale
    if croppable and crop_hr:
        return np.ascontiguousarray(hr[: h * scale, : w * scale]), lr
    hint = "; --crop-hr cuts off the rest" if croppable else _right_scale(height / h, width / w)
    raise ValueError(f"{name}: hr {width}x{height} is not {scale} x lr {w}x{h}{lr_name}{hint}")


def _right_scale(tall: float, wide: float) -> str:
    return f"; this pair is x{tall:.0f}: --scale {tall:.0f}" if tall == wide == round(tall) and tall > 1 else ""
