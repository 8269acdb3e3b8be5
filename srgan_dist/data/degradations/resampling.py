"""Resizing a batch in which every crop has its own new size and its own filter, by one matrix product each way."""

import torch
from torch import Tensor

from srgan_dist.data.degradations.draws import AREA, BICUBIC


def resize(images: Tensor, matrix: Tensor) -> Tensor:
    """(B, C, S, S), of which a part counts, resized along both axes: (B, C, canvas, canvas).

    Args:
        matrix: (B, canvas, S), see `resize_matrix`.
    """
    b, c, s, _ = images.shape
    canvas = matrix.shape[1]
    rows = torch.matmul(matrix, images.transpose(1, 2).reshape(b, s, c * s)).view(b, canvas * c, s)  # canvas, c, s
    both = torch.matmul(rows, matrix.transpose(1, 2)).view(b, canvas, c, canvas)
    return both.transpose(1, 2).contiguous()


def resize_matrix(size: Tensor, new_size: Tensor, mode: Tensor, source: int, canvas: int, reach: int) -> Tensor:
    """(B, canvas, source): what each source pixel counts in each new one, along one axis.

    The first `new_size` new pixels are the resized image, the rest repeats its edge; of the source the first `size`
    count. Filters are those of torch.nn.functional.interpolate with a new size given: area, bilinear, bicubic
    (a = -0.75), not antialiased. Of a smaller canvas or source the matrix is the corner.

    Args:
        size, new_size, mode: (B,), integers.
        reach: at least the largest size / new_size; source pixels that an area may average.
    """
    n, new, kind = (t.view(-1, 1, 1) for t in (size, new_size, mode))
    out = torch.minimum(torch.arange(canvas, device=size.device).view(1, -1, 1), new - 1)
    tap = torch.arange(max(4, reach + 2), device=size.device)
    start, end = out * n // new, -(-(out + 1) * n // new)
    centre = (out + 0.5) * (n / new) - 0.5
    first = torch.where(kind == AREA, start, centre.floor().long() - 1)
    pixel = first + tap
    distance = (centre - pixel).abs()
    area = (pixel < end) / (end - start)
    smooth = torch.where(kind == BICUBIC, _cubic(distance), (1 - distance).clamp(min=0))
    weight = torch.where(kind == AREA, area, smooth)
    below, above = pixel < 0, pixel >= n
    low, high = ((weight * beyond).sum(2, keepdim=True) for beyond in (below, above))
    inside = weight * ~(below | above)
    # Taps beyond an edge count for the edge, here and not by adding at one place: a GPU adds in any order.
    inside = inside + low * (pixel == 0) + high * (pixel == n - 1)
    matrix = torch.zeros(len(size), canvas, source, device=size.device)
    return matrix.scatter_add_(2, torch.minimum(pixel.clamp(min=0), n - 1), inside)


def _cubic(t: Tensor, a: float = -0.75) -> Tensor:
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0))
