"""JPEG there and back on the device, a whole batch with a quality each, in libjpeg's own whole numbers.

Baseline JPEG as Pillow writes and reads it by default: chroma at half size (4:2:0), the standard tables scaled by the
quality, the accurate integer cosine transform (jfdctint.c, jidctint.c), "fancy" enlargement of chroma. Every value that
libjpeg computes is a whole number here too, held in floats wide enough to be exact.
"""

import torch
from torch import Tensor

_LUMA = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
_CHROMA = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""


_EVEN = (8192, 8192, 8192, 8192), (10703, 4433, -4433, -10703), (8192, -8192, -8192, 8192), (4433, -10704, 10704, -4433)
_ODD = (11363, 9633, 6437, 2260), (9633, -2259, -11362, -6436), (6437, -11362, 2261, 9633), (2260, -6436, 9633, -11363)
"""Left halves of the cosine matrix's rows 0, 2, 4, 6 and 1, 3, 5, 7 in libjpeg's 13 bit constants; the right halves
mirror them, the odd ones with the sign turned."""


def jpeg(images: Tensor, size: Tensor, quality: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] as they come back from JPEG files, S a multiple of 16.

    Args:
        size: (B,), how many rows and columns count; the rest must repeat the edge, as an encoder would fill it.
        quality: (B,), whole numbers from 1 to 100.
    """
    red, green, blue = (images.clamp(0, 1) * 255).round().unbind(1)
    y = _floored(19595 * red + 38470 * green + 7471 * blue + 32768, 16)
    offset = (128 << 16) + 32767
    cb = _floored(offset - 11059 * red - 21709 * green + 32768 * blue, 16)
    cr = _floored(offset + 32768 * red - 27439 * green - 5329 * blue, 16)
    y = _coded(y, _table(_LUMA, quality))
    half = (size.repeat(2) + 1) // 2
    chroma = _edge_repeated(_halved(torch.cat([cb, cr])), half, 1)  # jcprepct.c fills up rows after halving them
    chroma = _coded(chroma, _table(_CHROMA, quality).repeat(2, 1, 1))
    cb, cr = (_doubled(_edge_repeated(_edge_repeated(chroma, half, 1), half, 2)) - 128).chunk(2)
    back = [
        y + _floored(91881 * cr + 32768, 16),
        y + _floored(32768 - 22554 * cb - 46802 * cr, 16),
        y + _floored(116130 * cb + 32768, 16),
    ]
    return torch.stack(back, 1).clamp_(0, 255) / 255


def _floored(x: Tensor, bits: int) -> Tensor:
    """x >> bits."""
    return (x * 0.5**bits).floor_()


def _table(base: str, quality: Tensor) -> Tensor:
    """(B, 8, 8): the standard table at each quality."""
    standard = torch.tensor([float(n) for n in base.split()], device=quality.device).view(1, 8, 8)
    quality = quality.float().view(-1, 1, 1)
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((standard * percent + 50) / 100).floor().clamp_(1, 255)


def _coded(plane: Tensor, table: Tensor) -> Tensor:
    """(B, S, S) in levels through the cosine transform, quantisation and back."""
    b, s, _ = plane.shape
    cosines = _cosines(plane.device)
    levels = (plane - 128).double()  # float32 holds whole numbers up to 2^24 only
    coefficients = _down(_along(levels, cosines, 11), cosines, 15)
    blocks = coefficients.view(b, s // 8, 8, s // 8, 8)  # eight times the coefficients
    steps = table.double().view(b, 1, 8, 1, 8)
    quantised = blocks.sign() * ((blocks.abs() + 4 * steps) / (8 * steps)).floor_()
    columns = _down((quantised * steps).view(b, s, s), cosines.T, 11)
    return (_along(columns, cosines.T, 18).float() + 128).clamp_(0, 255)


def _along(plane: Tensor, matrix: Tensor, bits: int) -> Tensor:
    """The matrix applied to every 8 pixels of a row, shifted right by `bits` with rounding."""
    return torch.matmul(plane.view(-1, 8), matrix.T * 0.5**bits).add_(0.5).floor_().view(plane.shape)


def _down(plane: Tensor, matrix: Tensor, bits: int) -> Tensor:
    """The same with every 8 pixels of a column."""
    blocks = plane.view(-1, 8, plane.shape[-1])
    return torch.matmul(matrix * 0.5**bits, blocks).add_(0.5).floor_().view(plane.shape)


def _cosines(device: torch.device) -> Tensor:
    left = torch.tensor([row for pair in zip(_EVEN, _ODD, strict=True) for row in pair], dtype=torch.float64)
    sign = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(4, 1)
    return torch.cat([left, sign * left.flip(1)], 1).to(device)


def _halved(plane: Tensor) -> Tensor:
    """2x2 means, halves rounded down and up in turn from column to column (jcsample.c)."""
    b, s, _ = plane.shape
    sums = plane.view(b, s // 2, 2, s // 2, 2).sum((2, 4))
    bias = 1 + torch.arange(s // 2, device=plane.device) % 2
    return ((sums + bias) / 4).floor_()


def _doubled(plane: Tensor) -> Tensor:
    """Twice the size: a triangle filter, 3/4 of the nearer and 1/4 of the farther pixel (jdsample.c)."""
    b, s, _ = plane.shape
    above = torch.cat([plane[:, :1], plane[:, :-1]], 1)
    below = torch.cat([plane[:, 1:], plane[:, -1:]], 1)
    rows = torch.stack([3 * plane + above, 3 * plane + below], 2).view(b, 2 * s, s)
    left = torch.cat([rows[:, :, :1], rows[:, :, :-1]], 2)
    right = torch.cat([rows[:, :, 1:], rows[:, :, -1:]], 2)
    columns = torch.stack([3 * rows + left + 8, 3 * rows + right + 7], 3).view(b, 2 * s, 2 * s)
    return _floored(columns, 4)


def _edge_repeated(plane: Tensor, size: Tensor, dim: int) -> Tensor:
    """(B, S, S) with the last of `size` (B,) rows (dim 1) or columns (dim 2) repeated to the end."""
    s = plane.shape[1]
    index = torch.minimum(torch.arange(s, device=plane.device)[None], size.view(-1, 1) - 1)
    return plane.gather(dim, index.unsqueeze(3 - dim).expand_as(plane))
