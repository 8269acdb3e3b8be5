"""Resizing of uint8 pictures: MATLAB's bicubic reduction, bit for bit, and the enlargements to beat.

DESIGN decision 3: a model trained on one bicubic and judged on another is judged wrongly, so every
reduction has a name (`Kernel`) that travels with the shards.
"""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

Pixels = NDArray[np.uint8]
Kernel = Literal["matlab-mirror", "matlab-clamp", "pillow", "torch"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
Enlargement = Literal["nearest", "bilinear", "bicubic", "lanczos"]
ENLARGEMENTS: tuple[Enlargement, ...] = get_args(Enlargement)


def reduce(hr: Pixels, scale: int, kernel: Kernel = "matlab-mirror") -> Pixels:
    """`hr` (H, W, 3) uint8 RGB, antialiased bicubic, at 1/scale of its size; H and W multiples of `scale`.

    `matlab-mirror` is imresize of MATLAB today and of DIV2K; `matlab-clamp` imresize as it was when Set5,
    Set14 and BSD100 were made: both equal those files in every value. `pillow` and `torch` are those
    libraries' antialiased bicubic in one call, which differ from MATLAB's by one level here and there.

    Raises:
        ValueError: the size is not a multiple of the scale.
    """
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} is not a multiple of scale={scale}: crop it first")
    if kernel == "pillow":
        size = (width // scale, height // scale)
        return np.asarray(Image.fromarray(hr).resize(size, Image.Resampling.BICUBIC))
    if kernel == "torch":
        chw = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None].float()
        lr = _interpolate(chw, (height // scale, width // scale))
        return lr.round().clamp(0, 255).byte()[0].permute(1, 2, 0).contiguous().numpy()
    return _reduce_as_matlab(hr, scale, mode="symmetric" if kernel == "matlab-mirror" else "edge")


def _reduce_as_matlab(hr: Pixels, scale: int, mode: Literal["symmetric", "edge"]) -> Pixels:
    """Two uint8 passes, height first, each rounded: without the rounding between them 10 % of values differ."""
    margin = 2 * scale  # the widened kernel reaches 2 * scale pixels beyond the outermost output pixel
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    padded = np.pad(hr, ((margin, margin), (margin, margin), (0, 0)), mode=mode)
    image = torch.from_numpy(padded).permute(2, 0, 1)[None].contiguous()
    rows = _interpolate(image, (height + 4, image.shape[3]))[:, :, 2:-2]
    both = _interpolate(rows.contiguous(), (height, width + 4))[:, :, :, 2:-2]
    return both[0].permute(1, 2, 0).contiguous().numpy()


def _interpolate(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(images, size=size, mode="bicubic", antialias=True)  # antialias: a = -0.5


def enlarge(lr: Pixels, scale: int, method: Enlargement) -> Pixels:
    """`lr` (h, w, 3) uint8 RGB at `scale` times its size, by Pillow's filter of that name."""
    size = (lr.shape[1] * scale, lr.shape[0] * scale)
    return np.asarray(Image.fromarray(lr).resize(size, Image.Resampling[method.upper()]))


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """The top left part of (H, W, 3) whose sides are multiples of `scale`."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]
