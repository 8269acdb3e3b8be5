"""Gaussian and Poisson noise as pure functions of a crop's key and the pixel's place: no generator, no state.

The numbers are drawn once, sixteen million bytes of them, and read again and again: every row of every crop from a
place that a hash of its key decides. Reading is several times quicker than drawing.
"""

import math
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)
_MOST = 352
"""Counts that a Poisson of mean 256 does not reach in practice (6 standard deviations)."""
_QUANTILES = 2048
_NUMBERS, _LONGEST = 2**22, 4096
"""How many noise values there are, and how many a row may read on past them."""


class PoissonTable:
    """Poisson samples by looking them up: an image has 256 levels and 9 possible scales, so 2304 means.

    Every mean has 2048 equally likely outcomes (its quantiles in the middle of each of 2048 equal parts), so a
    probability is off by at most 1/2048.
    """

    def __init__(self, device: torch.device) -> None:
        levels = torch.arange(256, dtype=torch.float64) / 255
        means = (2.0 ** torch.arange(9, dtype=torch.float64)[:, None] * levels).view(-1, 1)
        counts = torch.arange(_MOST, dtype=torch.float64).expand(len(means), _MOST) + 1
        at_most = torch.special.gammaincc(counts, means.expand_as(counts)).contiguous()
        at_most[means.squeeze(1) == 0] = 1.0
        parts = ((torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES).expand(len(means), -1)
        self._outcomes = torch.searchsorted(at_most, parts.contiguous()).to(torch.int16).view(-1).to(device)

    def sample(self, level: Tensor, exponent: Tensor, uniform: Tensor) -> Tensor:
        """Counts of mean level/255 * 2^exponent.

        Args:
            level: 0 to 255, whole numbers.
            exponent: 0 to 8.
            uniform: in [0, 1).
        """
        row = exponent.long() * 256 + level.long()
        return self._outcomes[row * _QUANTILES + (uniform * _QUANTILES).long()].float()


@lru_cache(maxsize=1)
def poisson_table(device: torch.device) -> PoissonTable:
    """The table on a device; it takes a moment to compute and is always the same."""
    return PoissonTable(device)


@lru_cache(maxsize=2)
def uniform_numbers(device: torch.device) -> Tensor:
    """2^22 numbers in (0, 1), always the same."""
    rng = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 2**24, (_NUMBERS + _LONGEST,), generator=rng, dtype=torch.int32)
    return ((drawn.float() + 0.5) * 2.0**-24).to(device)


@lru_cache(maxsize=1)
def normal_numbers(device: torch.device) -> Tensor:
    """The same as numbers of a standard normal distribution."""
    uniform = uniform_numbers(torch.device("cpu")).double()
    return (math.sqrt(2) * torch.erfinv(2 * uniform - 1)).float().to(device)


def add_noise(images: Tensor, place: Tensor, strength: Tensor, gray: Tensor, poisson: slice | Tensor) -> Tensor:
    """Adds each crop's noise to (B, 3, S, S) in [0, 1] and clamps. Real-ESRGAN Sec. 3.1.

    Args:
        place: (B, 3, S, S), where each value finds its number (`noise_places`).
        strength: (B,), standard deviation of Gaussian noise in [0, 1], or the Poisson scale.
        gray: (B,), 1 where all channels get the same noise.
        poisson: which crops of the batch get Poisson noise, the others get Gaussian noise.
    """
    device, strength = images.device, strength.view(-1, 1, 1, 1)
    noisy = torch.addcmul(images, normal_numbers(device)[place], strength)
    counted = images[poisson]
    if len(counted):
        noise = _poisson(counted, uniform_numbers(device)[place[poisson]], gray[poisson].view(-1, 1, 1, 1) != 0)
        noisy[poisson] = torch.addcmul(counted, noise, strength[poisson])
    return noisy.clamp_(0, 1)


def _poisson(images: Tensor, uniform: Tensor, gray: Tensor) -> Tensor:
    luma = (images * _luma(images.device)).sum(1, keepdim=True)
    level = (torch.where(gray, luma, images) * 255).round_().clamp_(0, 255)
    exponent = _levels(level).float().log2().ceil().view(-1, 1, 1, 1)
    return poisson_table(images.device).sample(level, exponent, uniform) / 2**exponent - level / 255


@cache
def _luma(device: torch.device) -> Tensor:
    return torch.tensor(_LUMA).view(1, 3, 1, 1).to(device)


def _levels(level: Tensor) -> Tensor:
    """How many different levels each crop has, (B,)."""
    seen = torch.zeros(len(level), 256, device=level.device)
    return seen.scatter_(1, level.flatten(1).long(), 1.0).sum(1)


class NoisePlaces(NamedTuple):
    """Where each crop's values find their numbers: a row's hash, and on from there."""

    row: Tensor
    """(B, 3, S): where the row's numbers begin."""
    column: Tensor
    """(B, S): how far along the row."""

    def of(self, some: slice, side: int) -> Tensor:
        """Return the places (b, 3, side, side) of some crops."""
        return self.row[some, :, :side, None] + self.column[some, None, None, :side]


def noise_places(size: Tensor, gray: Tensor, keys: Tensor, side: int) -> NoisePlaces:
    """Return the places of crops of which the first `size` (B,) rows and columns count; the rest repeats the edge's.

    Args:
        gray: (B,), 1 where all channels get the same noise.
        keys: (2, B), int32: where the crop's own hash starts.
        side: S, rows and columns of the result.
    """
    along = torch.minimum(torch.arange(side, device=size.device)[None], size.view(-1, 1) - 1)
    channel = torch.arange(3, device=size.device).view(1, -1, 1) * (gray == 0).view(-1, 1, 1)
    row = _mixed((along[:, None] * 4 + channel).int() ^ keys[0].view(-1, 1, 1), keys[1].view(-1, 1, 1))
    return NoisePlaces((row & (_NUMBERS - 1)).long(), along)


def _mixed(x: Tensor, key: Tensor) -> Tensor:
    """C. Wellons' lowbias32 with a second key in the middle; int32 that wraps, shifted as if unsigned."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF) ^ key
    x = x * -2073254261  # 0x846CA68B
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    return x ^ ((x >> 15) & 0x1FFFF)
