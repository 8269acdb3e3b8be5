"""Blur kernels and blurring, a whole batch at once and every crop with its own kernel."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from srgan_dist.data.degradations.draws import NONE, PLATEAU_ISO, SINC, Blur

SIDE = 21
MARGIN = SIDE // 2


def kernels(blur: Blur) -> Tensor:
    """(B, 21, 21), each summing to 1, zero outside its own size.

    Real-ESRGAN Sec. 3.1 (Gaussians, generalized Gaussians, plateaus) and Eq. 6 (sinc).
    """
    kind, size, sigma_x, sigma_y, angle, beta, omega = (t.float().view(-1, 1, 1) for t in blur)
    axis = torch.arange(-MARGIN, MARGIN + 1, device=kind.device, dtype=torch.float32)
    x, y = axis.view(1, 1, -1), axis.view(1, -1, 1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    q = ((along / sigma_x) ** 2 + (across / sigma_y) ** 2) ** beta
    bell = torch.where(kind >= PLATEAU_ISO, 1 / (q + 1), (-q / 2).exp())
    kernel = torch.where(kind == SINC, _sinc((x**2 + y**2).sqrt(), omega), bell)
    pulse = ((x == 0) & (y == 0)).float()
    kernel = torch.where(kind == NONE, pulse, kernel)
    kernel = kernel * ((x.abs() <= size // 2) & (y.abs() <= size // 2))
    return kernel / kernel.sum((1, 2), keepdim=True)


def _sinc(radius: Tensor, omega: Tensor) -> Tensor:
    safe = radius.clamp(min=0.5)
    ring = omega * torch.special.bessel_j1(omega * safe) / (2 * math.pi * safe)
    return torch.where(radius == 0, omega**2 / (4 * math.pi), ring)


def filtered(padded: Tensor, kernel: Tensor) -> Tensor:
    """Each of (B, C, n + 20, n + 20) through its kernel (B, 21, 21): (B, C, n, n).

    By FFT: the kernels are point-symmetric, so convolution and correlation are one, and 441 multiplications per
    pixel become about 60.
    """
    n = padded.shape[-1]
    side = -(-n // 32) * 32  # lengths that FFTs like; what is added only reaches outputs that are cut off
    spectrum = torch.fft.rfft2(padded, s=(side, side)) * torch.fft.rfft2(kernel, s=(side, side))[:, None]
    return torch.fft.irfft2(spectrum, s=(side, side))[..., SIDE - 1 : n, SIDE - 1 : n]


def gaussian_matrix(n: int, side: int, sigma: float) -> Tensor:
    """(n, n): a Gaussian blur along one axis of n pixels, mirrored at the ends without repeating them."""
    taps = torch.arange(side, dtype=torch.float64) - side // 2
    weights = (-(taps**2) / (2 * sigma**2)).exp()
    weights /= weights.sum()
    source = torch.arange(n)[:, None] + taps.long()
    matrix = torch.zeros(n, n, dtype=torch.float64)
    return matrix.scatter_add_(1, mirrored(source, n), weights.expand(n, side)).float()


def mirrored(index: Tensor, n: Tensor | int) -> Tensor:
    """Any integers brought into [0, n) by mirroring about the first and last pixel, as often as it takes."""
    period = (2 * n - 2).clamp(min=1) if isinstance(n, Tensor) else max(1, 2 * n - 2)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def mirror_index(size: Tensor, side: int) -> Tensor:
    """Return where each pixel of a padded row is taken from: (B, side + 20) for the first `size` (B,) of `side`."""
    return mirrored(torch.arange(-MARGIN, side + MARGIN, device=size.device)[None], size.view(-1, 1))


def mirror_padded(images: Tensor, index: Tensor) -> Tensor:
    """(B, C, S, S), of which a part counts, with 10 mirrored pixels on every side.

    Args:
        index: (B, S + 20), see `mirror_index`.
    """
    b, c, s, _ = images.shape
    rows = images.gather(2, index.view(b, 1, -1, 1).expand(b, c, -1, s))
    return rows.gather(3, index.view(b, 1, 1, -1).expand(b, c, index.shape[1], -1))


def mirror_padded_whole(images: Tensor) -> Tensor:
    """The same where all of every image counts."""
    if images.shape[-1] > MARGIN:
        return F.pad(images, (MARGIN,) * 4, mode="reflect")
    size = torch.full((len(images),), images.shape[-1], device=images.device)
    return mirror_padded(images, mirror_index(size, images.shape[-1]))
