"""Resizing of a batch in which every crop has its own size and filter: one matrix product per axis."""

import torch
from torch import Tensor

from srgan_dist.data.degradations.draws import AREA, BICUBIC


def resize(images: Tensor, matrix: Tensor) -> Tensor:
    """Resize (B, C, S, S) along both axes with a matrix per crop, to (B, C, canvas, canvas).

    Args:
        matrix: (B, canvas, S), see `resize_matrix`.
    """
    b, c, s, _ = images.shape
    canvas = matrix.shape[1]
    rows = torch.matmul(matrix, images.transpose(1, 2).reshape(b, s, c * s)).view(b, canvas * c, s)  # canvas, c, s
    both = torch.matmul(rows, matrix.transpose(1, 2)).view(b, canvas, c, canvas)
    return both.transpose(1, 2).contiguous()


def resize_matrix(size: Tensor, new_size: Tensor, mode: Tensor, source: int, canvas: int, reach: int) -> Tensor:
    """Return the weight of each source pixel in each new pixel along one axis, float32 (B, canvas, source).

    Only the first `size` source pixels are used. The first `new_size` new pixels are the resized image; the others
    repeat its edge. The filters are those of torch.nn.functional.interpolate with its argument `size`: area, bilinear
    and bicubic (a = -0.75), without antialiasing. The matrix for a smaller canvas or source is a corner of this one.

    Args:
        size, new_size: sides in pixels before and after, int64 (B,).
        mode: AREA, BILINEAR or BICUBIC, int64 (B,).
        source, canvas: sides of the source and of the result in pixels, with their unused parts.
        reach: at least the largest size / new_size; the number of source pixels that AREA may average.
    """
    n, new, kind = (t.view(-1, 1, 1) for t in (size, new_size, mode))
    out = torch.minimum(torch.arange(canvas, device=size.device).view(1, -1, 1), new - 1)
    tap = torch.arange(max(4, reach + 2), device=size.device)
    start, end = out * n // new, -(-(out + 1) * n // new)
    center = (out + 0.5) * (n / new) - 0.5
    first = torch.where(kind == AREA, start, center.floor().long() - 1)
    pixel = first + tap
    distance = (center - pixel).abs()
    area = (pixel < end) / (end - start)
    smooth = torch.where(kind == BICUBIC, _cubic(distance), (1 - distance).clamp(min=0))
    weight = torch.where(kind == AREA, area, smooth)
    below, above = pixel < 0, pixel >= n
    low, high = ((weight * beyond).sum(2, keepdim=True) for beyond in (below, above))
    inside = weight * ~(below | above)
    # Add taps beyond an edge to the edge here, not in `scatter_add_`: a GPU would sum them in any order.
    inside = inside + low * (pixel == 0) + high * (pixel == n - 1)
    matrix = torch.zeros(len(size), canvas, source, device=size.device)
    return matrix.scatter_add_(2, torch.minimum(pixel.clamp(min=0), n - 1), inside)


def _cubic(t: Tensor, a: float = -0.75) -> Tensor:
    """Return Keys' cubic convolution kernel at the distances `t` >= 0."""
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0))
