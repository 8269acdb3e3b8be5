"""Gaussian and Poisson noise as pure functions of a crop's key and a pixel's position, without a generator state.

A table of 2^22 random numbers (16 MB) is drawn once. Every row of every crop reads it from an offset that is a hash of
the crop's key. Reading is several times faster than drawing.
"""

import math
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)
_MAX_COUNT = 352
"""Upper bound of the counts; a Poisson variable of mean 256 practically never exceeds it (6 standard deviations)."""
_QUANTILES = 2048
_NUMBERS, _MAX_ROW = 2**22, 4096
"""Size of the table, and how far a row may read beyond its end."""


class PoissonTable:
    """A lookup table of Poisson samples: 256 levels times 9 scales are 2304 means.

    Each mean has 2048 equally likely outcomes (the quantiles at the centers of 2048 equal parts), so every probability
    is within 1/2048 of the true one.
    """

    def __init__(self, device: torch.device) -> None:
        levels = torch.arange(256, dtype=torch.float64) / 255
        means = (2.0 ** torch.arange(9, dtype=torch.float64)[:, None] * levels).view(-1, 1)
        counts = torch.arange(_MAX_COUNT, dtype=torch.float64).expand(len(means), _MAX_COUNT) + 1
        at_most = torch.special.gammaincc(counts, means.expand_as(counts)).contiguous()
        at_most[means.squeeze(1) == 0] = 1.0
        parts = ((torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES).expand(len(means), -1)
        self._outcomes = torch.searchsorted(at_most, parts.contiguous()).to(torch.int16).view(-1).to(device)

    def sample(self, level: Tensor, exponent: Tensor, uniform: Tensor) -> Tensor:
        """Return Poisson counts of mean level / 255 * 2^exponent, float32.

        Args:
            level: integers from 0 to 255.
            exponent: integers from 0 to 8.
            uniform: random numbers in [0, 1).
        """
        row = exponent.long() * 256 + level.long()
        return self._outcomes[row * _QUANTILES + (uniform * _QUANTILES).long()].float()


@lru_cache(maxsize=1)
def poisson_table(device: torch.device) -> PoissonTable:
    """Return the table on a device; it is computed once and is always the same."""
    return PoissonTable(device)


@lru_cache(maxsize=2)
def uniform_numbers(device: torch.device) -> Tensor:
    """Return the table of uniform numbers in (0, 1), float32 (2^22 + 4096,), always the same."""
    rng = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 2**24, (_NUMBERS + _MAX_ROW,), generator=rng, dtype=torch.int32)
    return ((drawn.float() + 0.5) * 2.0**-24).to(device)


@lru_cache(maxsize=1)
def normal_numbers(device: torch.device) -> Tensor:
    """Return the table of standard normal numbers that corresponds to `uniform_numbers`."""
    uniform = uniform_numbers(torch.device("cpu")).double()
    return (math.sqrt(2) * torch.erfinv(2 * uniform - 1)).float().to(device)


def add_noise(images: Tensor, index: Tensor, strength: Tensor, gray: Tensor, poisson: slice | Tensor) -> Tensor:
    """Add noise to images (B, 3, S, S) in [0, 1], and clamp the result to [0, 1]. Real-ESRGAN Sec. 3.1.

    Args:
        index: position of each value's random number in the table, (B, 3, S, S); see `noise_index`.
        strength: standard deviation of Gaussian noise on the scale of [0, 1], or the Poisson scale, (B,).
        gray: 1 where all channels get the same noise, (B,).
        poisson: the crops that get Poisson noise; all others get Gaussian noise.
    """
    device, strength = images.device, strength.view(-1, 1, 1, 1)
    noisy = torch.addcmul(images, normal_numbers(device)[index], strength)
    selected = images[poisson]
    if len(selected):
        noise = _poisson(selected, uniform_numbers(device)[index[poisson]], gray[poisson].view(-1, 1, 1, 1) != 0)
        noisy[poisson] = torch.addcmul(selected, noise, strength[poisson])
    return noisy.clamp_(0, 1)


def _poisson(images: Tensor, uniform: Tensor, gray: Tensor) -> Tensor:
    """Return Poisson noise of scale 1. A crop's counts reach its number of levels, rounded up to a power of two."""
    luma = (images * _luma(images.device)).sum(1, keepdim=True)
    level = (torch.where(gray, luma, images) * 255).round_().clamp_(0, 255)
    exponent = _count_levels(level).float().log2().ceil().view(-1, 1, 1, 1)
    return poisson_table(images.device).sample(level, exponent, uniform) / 2**exponent - level / 255


@cache
def _luma(device: torch.device) -> Tensor:
    return torch.tensor(_LUMA).view(1, 3, 1, 1).to(device)


def _count_levels(level: Tensor) -> Tensor:
    """Return the number of different levels in each crop, (B,)."""
    present = torch.zeros(len(level), 256, device=level.device)
    return present.scatter_(1, level.flatten(1).long(), 1.0).sum(1)


class NoiseIndex(NamedTuple):
    """The position in the table of each value's random number: the offset of its row plus its column."""

    row: Tensor
    """Offset of each row, int64 (B, 3, S)."""
    column: Tensor
    """Column of each value within its row, int64 (B, S)."""

    def of(self, crops: slice, side: int) -> Tensor:
        """Return the positions for the first `side` rows and columns of some crops, int64 (b, 3, side, side)."""
        return self.row[crops, :, :side, None] + self.column[crops, None, None, :side]


def noise_index(size: Tensor, gray: Tensor, keys: Tensor, side: int) -> NoiseIndex:
    """Return the positions for a batch of crops, each of its own size.

    Args:
        size: valid rows and columns of each crop, (B,); the noise of the others repeats that of the edge.
        gray: 1 where all channels get the same noise, (B,).
        keys: two keys per crop, int32 (2, B).
        side: rows and columns of the result, S.
    """
    column = torch.minimum(torch.arange(side, device=size.device)[None], size.view(-1, 1) - 1)
    channel = torch.arange(3, device=size.device).view(1, -1, 1) * (gray == 0).view(-1, 1, 1)
    row = _mix((column[:, None] * 4 + channel).int() ^ keys[0].view(-1, 1, 1), keys[1].view(-1, 1, 1))
    return NoiseIndex((row & (_NUMBERS - 1)).long(), column)


def _mix(x: Tensor, key: Tensor) -> Tensor:
    """Apply C. Wellons' hash lowbias32, with a second key in the middle; int32 wraps, shifts are those of unsigned."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF) ^ key
    x = x * -2073254261  # 0x846CA68B
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    return x ^ ((x >> 15) & 0x1FFFF)
