"""Resizing of uint8 images: MATLAB's bicubic downscaling, bit for bit, and the interpolations to compare with.

See decision 3 in architecture.md: a model that was trained on one bicubic and is evaluated on another gets pessimistic
scores, so every kernel has a name (`Kernel`) that travels with the shards.
"""

from typing import Literal, get_args

import numpy as np
from PIL import Image

from srgan_dist.imaging.images import Pixels

Kernel = Literal["matlab-mirror", "matlab-clamp", "pillow", "torch"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
ALL_INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic")
"""Those that stand beside every generator's results."""


def downscale(hr: Pixels, scale: int, kernel: Kernel = "matlab-mirror") -> Pixels:
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
        return _bicubic(hr, (width // scale, height // scale))
    if kernel == "torch":
        return _downscale_as_torch(hr, scale)
    return _downscale_as_matlab(hr, scale, mode="symmetric" if kernel == "matlab-mirror" else "edge")


def _downscale_as_matlab(hr: Pixels, scale: int, mode: Literal["symmetric", "edge"]) -> Pixels:
    """Two uint8 passes, height first, each rounded: without the rounding between them 10 % of values differ."""
    margin = 2 * scale  # the widened kernel reaches 2 * scale pixels beyond the outermost output pixel
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    tall = np.pad(hr, ((margin, margin), (0, 0), (0, 0)), mode=mode)
    rows = _bicubic(tall, (width * scale, height + 4))[2:-2]
    wide = np.pad(rows, ((0, 0), (margin, margin), (0, 0)), mode=mode)
    return np.ascontiguousarray(_bicubic(wide, (width + 4, height))[:, 2:-2])


def _bicubic(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Pillow's, which is antialiased, with a = -0.5. The side that stays as long is not touched."""
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _downscale_as_torch(hr: Pixels, scale: int) -> Pixels:
    import torch  # slow to load, and packing has no other use for it

    chw = torch.from_numpy(np.ascontiguousarray(hr)).permute(2, 0, 1)[None].float()
    size = (hr.shape[0] // scale, hr.shape[1] // scale)
    lr = torch.nn.functional.interpolate(chw, size=size, mode="bicubic", antialias=True)
    return lr.round().clamp(0, 255).byte()[0].permute(1, 2, 0).contiguous().numpy()


def interpolate(lr: Pixels, scale: int, method: Interpolation) -> Pixels:
    """`lr` (h, w, 3) uint8 RGB at `scale` times its size, by Pillow's filter of that name."""
    size = (lr.shape[1] * scale, lr.shape[0] * scale)
    return np.asarray(Image.fromarray(lr).resize(size, Image.Resampling[method.upper()]))


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """The top left part of (H, W, 3) whose sides are multiples of `scale`."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]
