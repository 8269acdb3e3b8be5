"""Blur kernels and their application to a batch in which every crop has its own kernel."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from srgan_dist.data.degradations.draws import NONE, PLATEAU_ISO, SINC, Blur

SIDE = 21
MARGIN = SIDE // 2


def kernels(blur: Blur) -> Tensor:
    """Return the kernels, float32 (B, 21, 21), each with sum 1 and zero outside its own size.

    Real-ESRGAN Sec. 3.1 (Gaussians, generalized Gaussians, plateaus) and Eq. 6 (sinc).

    Args:
        blur: tensors of shape (B,).
    """
    kind, size, sigma_x, sigma_y, angle, beta, omega = (t.float().view(-1, 1, 1) for t in blur)
    axis = torch.arange(-MARGIN, MARGIN + 1, device=kind.device, dtype=torch.float32)
    x, y = axis.view(1, 1, -1), axis.view(1, -1, 1)
    first_axis, second_axis = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    q = ((first_axis / sigma_x) ** 2 + (second_axis / sigma_y) ** 2) ** beta
    bell = torch.where(kind >= PLATEAU_ISO, 1 / (q + 1), (-q / 2).exp())
    kernel = torch.where(kind == SINC, _sinc((x**2 + y**2).sqrt(), omega), bell)
    pulse = ((x == 0) & (y == 0)).float()
    kernel = torch.where(kind == NONE, pulse, kernel)
    kernel = kernel * ((x.abs() <= size // 2) & (y.abs() <= size // 2))
    return kernel / kernel.sum((1, 2), keepdim=True)


def _sinc(radius: Tensor, omega: Tensor) -> Tensor:
    """Return the circular sinc of cutoff `omega` at these distances from the center. Real-ESRGAN Eq. 6."""
    nonzero = radius.clamp(min=0.5)  # leaves all other radii of the pixel grid as they are
    ring = omega * torch.special.bessel_j1(omega * nonzero) / (2 * math.pi * nonzero)
    return torch.where(radius == 0, omega**2 / (4 * math.pi), ring)


def filtered(padded: Tensor, kernel: Tensor) -> Tensor:
    """Filter each of the padded images (B, C, n + 20, n + 20) with its kernel, (B, 21, 21); return (B, C, n, n).

    The FFT needs about 60 multiplications per pixel instead of 441. The kernels are point-symmetric, so convolution and
    correlation are the same.
    """
    n = padded.shape[-1]
    side = -(-n // 32) * 32  # an efficient FFT length; the padding affects only outputs that are cropped
    spectrum = torch.fft.rfft2(padded, s=(side, side)) * torch.fft.rfft2(kernel, s=(side, side))[:, None]
    return torch.fft.irfft2(spectrum, s=(side, side))[..., SIDE - 1 : n, SIDE - 1 : n]


def gaussian_matrix(n: int, side: int, sigma: float) -> Tensor:
    """Return a Gaussian blur along one axis as a matrix, float32 (n, n); the ends are mirrored without repeating them.

    Args:
        n: pixels along the axis.
        side: taps of the Gaussian, odd.
        sigma: standard deviation in pixels.
    """
    taps = torch.arange(side, dtype=torch.float64) - side // 2
    weights = (-(taps**2) / (2 * sigma**2)).exp()
    weights /= weights.sum()
    source = torch.arange(n)[:, None] + taps.long()
    matrix = torch.zeros(n, n, dtype=torch.float64)
    return matrix.scatter_add_(1, mirrored(source, n), weights.expand(n, side)).float()


def mirrored(index: Tensor, n: Tensor | int) -> Tensor:
    """Map any integers into [0, n) by reflection about the first and the last pixel, repeated as necessary."""
    period = (2 * n - 2).clamp(min=1) if isinstance(n, Tensor) else max(1, 2 * n - 2)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def mirror_index(size: Tensor, side: int) -> Tensor:
    """Return the source pixel of each pixel of a padded row, (B, side + 20), where the first `size` (B,) are valid."""
    return mirrored(torch.arange(-MARGIN, side + MARGIN, device=size.device)[None], size.view(-1, 1))


def mirror_padded(images: Tensor, index: Tensor) -> Tensor:
    """Pad the valid part of (B, C, S, S) by reflection, 10 pixels on every side; return (B, C, S + 20, S + 20).

    Args:
        index: (B, S + 20), see `mirror_index`.
    """
    b, c, s, _ = images.shape
    rows = images.gather(2, index.view(b, 1, -1, 1).expand(b, c, -1, s))
    return rows.gather(3, index.view(b, 1, 1, -1).expand(b, c, index.shape[1], -1))


def mirror_padded_full(images: Tensor) -> Tensor:
    """Pad (B, C, S, S) as `mirror_padded` does, where all pixels are valid."""
    if images.shape[-1] > MARGIN:
        return F.pad(images, (MARGIN,) * 4, mode="reflect")
    size = torch.full((len(images),), images.shape[-1], device=images.device)
    return mirror_padded(images, mirror_index(size, images.shape[-1]))
