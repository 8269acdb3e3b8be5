"""Resizing of uint8 images: bit-exact MATLAB bicubic downscaling, and the interpolations that models are compared with.

Decision 3 in architecture.md: a model that is evaluated on another bicubic kernel than it was trained on gets
pessimistic scores, so every kernel has a name (`Kernel`), which is recorded with the shards.
"""

from typing import Literal, get_args

import numpy as np
from PIL import Image

from srgan_dist.imaging.images import Pixels

Kernel = Literal["matlab-mirror", "matlab-clamp", "pillow", "torch"]
"""An implementation of bicubic downscaling; see `downscale`."""
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
"""A method of interpolation; see `interpolate`."""
ALL_INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic")
"""The interpolations that every generator is compared with by default."""


def downscale(hr: Pixels, scale: int, kernel: Kernel = "matlab-mirror") -> Pixels:
    """Downscale an image by an integer factor with antialiased bicubic interpolation.

    Args:
        hr: (H, W, 3) uint8 RGB, with H and W multiples of `scale`.
        scale: Downscaling factor.
        kernel: `matlab-mirror` is the imresize of current MATLAB versions, which made DIV2K's LR images. `matlab-clamp`
            is the imresize that made the LR images of Set5, Set14 and BSD100. Both reproduce every value of those
            files. `pillow` and `torch` are the antialiased bicubic of those libraries, of which some values differ
            from MATLAB's by one level.

    Returns:
        lr, (H/scale, W/scale, 3) uint8 RGB.

    Raises:
        ValueError: If H or W is not a multiple of `scale`.
    """
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"the size {width}x{height} is not a multiple of scale={scale}; crop the image first")
    if kernel == "pillow":
        return _bicubic(hr, (width // scale, height // scale))
    if kernel == "torch":
        return _downscale_as_torch(hr, scale)
    return _downscale_as_matlab(hr, scale, mode="symmetric" if kernel == "matlab-mirror" else "edge")


def _downscale_as_matlab(hr: Pixels, scale: int, mode: Literal["symmetric", "edge"]) -> Pixels:
    """Downscale in two passes, height first, both rounded to uint8: with one rounding, 10% of values would differ."""
    margin = 2 * scale  # radius of the antialiased kernel in HR pixels
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    tall = np.pad(hr, ((margin, margin), (0, 0), (0, 0)), mode=mode)
    rows = _bicubic(tall, (width * scale, height + 4))[2:-2]
    wide = np.pad(rows, ((0, 0), (margin, margin), (0, 0)), mode=mode)
    return np.ascontiguousarray(_bicubic(wide, (width + 4, height))[:, 2:-2])


def _bicubic(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize to (width, height) with Pillow's antialiased bicubic (a = -0.5), which skips axes of unchanged length."""
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _downscale_as_torch(hr: Pixels, scale: int) -> Pixels:
    import torch  # imported here because it loads slowly and packing needs it for nothing else

    chw = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None].float()
    size = (hr.shape[0] // scale, hr.shape[1] // scale)
    lr = torch.nn.functional.interpolate(chw, size=size, mode="bicubic", antialias=True)
    return lr.round().clamp(0, 255).byte()[0].permute(1, 2, 0).contiguous().numpy()


def interpolate(lr: Pixels, scale: int, method: Interpolation) -> Pixels:
    """Upscale (h, w, 3) uint8 RGB to (scale*h, scale*w, 3) with the Pillow filter of that name."""
    size = (lr.shape[1] * scale, lr.shape[0] * scale)
    return np.asarray(Image.fromarray(lr).resize(size, Image.Resampling[method.upper()]))


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """Return a view of the largest top left part of an image (H, W, 3) whose sides are multiples of `scale`."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]
