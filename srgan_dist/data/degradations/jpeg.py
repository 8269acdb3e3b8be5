"""JPEG compression and decompression of a batch on the device, a quality per image, with the exact values of libjpeg.

Baseline JPEG as Pillow writes and reads it by default: chroma at half size (4:2:0), the standard tables scaled by the
quality, the accurate integer cosine transform (jfdctint.c, jidctint.c), "fancy" upsampling of chroma. Every integer of
libjpeg is an integer here, too, stored in floats wide enough to be exact. So products with constant matrices, which
take few kernel launches on a GPU, give the same bits in any order of summation. Devices without float64 compute each
product in two parts that float32 holds exactly.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

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

_WITHOUT_FLOAT64 = ("mps",)
"""Device types that have no float64."""

_EVEN = (8192, 8192, 8192, 8192), (10703, 4433, -4433, -10703), (8192, -8192, -8192, 8192), (4433, -10704, 10704, -4433)
_ODD = (11363, 9633, 6437, 2260), (9633, -2259, -11362, -6436), (6437, -11362, 2261, 9633), (2260, -6436, 9633, -11363)
"""Left halves of rows 0, 2, 4, 6 and of rows 1, 3, 5, 7 of the cosine matrix, in libjpeg's 13-bit constants. The right
halves mirror them, those of the odd rows with opposite sign."""

_TO_YCC = (19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329)
_TO_YCC_OFFSET = (32768, (128 << 16) + 32767, (128 << 16) + 32767)
_TO_RGB = (0, 91881), (-22554, -46802), (116130, 0)
"""Contributions of Cb - 128 and Cr - 128 to R, G and B. All three in 16-bit constants (jccolor.c, jdcolor.c)."""


def jpeg(images: Tensor, size: Tensor, tables: Tensor) -> Tensor:
    """Compress and decompress images (B, 3, S, S) in [0, 1], S a multiple of 16.

    Args:
        size: valid rows and columns of each image, (B,); the others must repeat the edge, as an encoder does.
        tables: (B, 2, 8, 8), see `quantization_tables`.

    Returns:
        (B, 3, S, S), multiples of 1/255 in [0, 1]. The valid part equals what Pillow decodes from its own JPEG file.
    """
    b, _, s, _ = images.shape
    constants, half = _constants(images.device), s // 2
    levels = images.clamp(0, 1).mul_(255).round_()
    ycc = torch.matmul(constants.to_ycc, levels.view(b, 3, -1)).add_(constants.to_ycc_offset)
    ycc = _shifted_right(ycc, 16).view(b, 3, s, s)
    edge = torch.minimum(_arange(half, images.device), ((size + 1) // 2).view(-1, 1) - 1)
    rows = edge.view(b, 1, half, 1).expand(b, 2, half, half)
    columns = edge.view(b, 1, 1, half).expand(b, 2, half, half)
    chroma = _downsampled(ycc[:, 1:]).gather(2, rows)  # jcprepct.c repeats the last row after downsampling
    planes = _coded(torch.cat([ycc[:, 0], chroma.view(b, s, half)], 2), tables)
    chroma = planes[:, :, s:].reshape(b, 2, half, half).gather(2, rows).gather(3, columns)
    color = torch.matmul(constants.to_rgb, _upsampled(chroma).view(b, 2, -1)).add_(32768)
    return _shifted_right(color, 16).view(b, 3, s, s).add_(planes[:, None, :, :s]).clamp_(0, 255).div_(255)


def quantization_tables(quality: Tensor) -> Tensor:
    """Return the standard tables of luma and chroma for integer qualities 1 to 100, (..., 2, 8, 8)."""
    quality = quality.float()[..., None, None, None]
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((_constants(quality.device).tables * percent + 50) / 100).floor_().clamp_(1, 255).to(_wide(quality.device))


class _Constants(NamedTuple):
    """Constant tensors on one device, so that no step copies them there."""

    to_ycc: Tensor
    to_ycc_offset: Tensor
    to_rgb: Tensor
    tables: Tensor
    """Luma and chroma, (2, 8, 8)."""
    rows: Tensor
    """Cosine transform of 8 pixels in a row, (8, 8) in `_wide`, because float32 is exact only up to 2^24."""
    columns: Tensor
    """Cosine transform of 8 pixels in a column. All four transforms include the shift that follows them in libjpeg."""
    columns_back: Tensor
    """Inverse transform of a column."""
    rows_back: Tensor
    """Inverse transform of a row."""


@cache
def _constants(device: torch.device) -> _Constants:
    left = torch.tensor([row for pair in zip(_EVEN, _ODD, strict=True) for row in pair], dtype=torch.float64)
    sign = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(4, 1)
    cosines = torch.cat([left, sign * left.flip(1)], 1)
    tables = [float(n) for n in (_LUMA + _CHROMA).split()]
    constants = _Constants(
        torch.tensor(_TO_YCC).float(),
        torch.tensor(_TO_YCC_OFFSET).float().view(3, 1),
        torch.tensor(_TO_RGB).float(),
        torch.tensor(tables).view(2, 8, 8),
        cosines.T * 0.5**11,
        cosines * 0.5**15,
        cosines.T * 0.5**11,
        cosines * 0.5**18,
    )
    return _Constants(*(t.to(_wide(device) if t.dtype == torch.float64 else t.dtype).to(device) for t in constants))


def _wide(device: torch.device) -> torch.dtype:
    """Return the type of a device that is exact for the most integers."""
    return torch.float32 if device.type in _WITHOUT_FLOAT64 else torch.float64


@cache
def _arange(n: int, device: torch.device) -> Tensor:
    """Return the integers from 0 to n - 1, made once per device."""
    return torch.arange(n, device=device)


def _shifted_right(x: Tensor, bits: int) -> Tensor:
    """Return x >> bits, computed in place."""
    return x.mul_(0.5**bits).floor_()


def _coded(planes: Tensor, tables: Tensor) -> Tensor:
    """Transform, quantize and transform back.

    Args:
        planes: levels, (B, S, 3/2 S): Y on the left, Cb above Cr on the right.
        tables: (B, 2, 8, 8), see `quantization_tables`.
    """
    b, s, width = planes.shape
    constants, luma = _constants(planes.device), s // 8
    coefficients = _transform_columns(_transform_rows(planes.to(tables.dtype) - 128, constants.rows), constants.columns)
    blocks = coefficients.view(b, s // 8, 8, width // 8, 8)  # 8 times the coefficients
    of_block = [tables[:, :1].expand(-1, luma, -1, -1), tables[:, 1:].expand(-1, width // 8 - luma, -1, -1)]
    steps = torch.cat(of_block, 1).transpose(1, 2).unsqueeze(1)
    # The half keeps the quotient of integers away from the next one, whichever way a device rounds a division.
    quantized = blocks.abs().add_(steps, alpha=4).add_(0.5).div_(8 * steps).floor_().mul_(blocks.sign())
    columns = _transform_columns(quantized.mul_(steps).view(b, s, width), constants.columns_back)
    return _transform_rows(columns, constants.rows_back).float().add_(128).clamp_(0, 255)


def _transform_rows(planes: Tensor, matrix: Tensor) -> Tensor:
    """Multiply every 8 pixels of a row by the matrix, and round."""
    return _rounded(lambda x: torch.matmul(x, matrix), planes.view(-1, 8)).view(planes.shape)


def _transform_columns(planes: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the matrix by every 8 pixels of a column, and round."""
    return _rounded(lambda x: torch.matmul(matrix, x), planes.view(-1, 8, planes.shape[-1])).view(planes.shape)


def _rounded(multiply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return floor(multiply(x) + 1/2) for integers x and a product with 14-bit integers times a power of two.

    In float32, x is split into multiples of 128 and the rest. Both products, and the fractions of both, are exact.
    """
    if x.dtype == torch.float64:
        return multiply(x).add_(0.5).floor_()
    high = (x * 0.5**7).floor_()
    a, b = multiply(high).mul_(2.0**7), multiply(x - high * 2.0**7)
    integer_a, integer_b = a.floor(), b.floor()
    return integer_a + integer_b + ((a - integer_a) + (b - integer_b)).add_(0.5).floor_()


def _downsampled(planes: Tensor) -> Tensor:
    """Return 2x2 means; the rounding of halves alternates between down and up along a row (jcsample.c)."""
    b, c, s, _ = planes.shape
    sums = planes.reshape(b, c, s // 2, 2, s // 2, 2).sum((3, 5))
    return sums.add_(_rounding_bias(s // 2, planes.device)).mul_(0.25).floor_()


@cache
def _rounding_bias(n: int, device: torch.device) -> Tensor:
    return (1 + torch.arange(n) % 2).float().to(device)


def _upsampled(planes: Tensor) -> Tensor:
    """Upsample by 2 (3/4 of the nearer plus 1/4 of the farther pixel, jdsample.c) and subtract 128."""
    matrix, bias = _upsampling(planes.shape[-1], planes.device)
    return _shifted_right(torch.matmul(torch.matmul(matrix, planes), matrix.T).add_(bias), 4)


@cache
def _upsampling(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return 4 times the filter along one axis, (2n, n), and the bias to add before dividing by 16, (2n,)."""
    near = torch.arange(2 * n) // 2
    far = (near + torch.tensor([-1, 1]).repeat(n)).clamp(0, n - 1)
    matrix = torch.zeros(2 * n, n)
    matrix.scatter_add_(1, torch.stack([near, far], 1), torch.tensor([3.0, 1.0]).expand(2 * n, 2))
    return matrix.to(device), (torch.tensor([8.0, 7.0]) - 128 * 16).repeat(n).to(device)
