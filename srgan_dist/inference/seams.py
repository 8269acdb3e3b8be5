"""Where tiles may start, and how large a margin they must read, so that no seam is visible: measured where not stated.

A network that divides its input into attention windows, or folds blocks of pixels into channels, gives the same pixels
for a tile and for the complete image only if the tile starts at a multiple of that division, the grid.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

_OWN_GRID, _FOREIGN_GRID = 4, 16
"""The grid of this package's networks, which use pixel unshuffle up to 4, and the first guess for all others."""
_MAX_STATED_OVERLAP = 64
"""LR pixels up to which a stated receptive field is used as the overlap; beyond that the overlap is measured."""
_HALF_LEVEL = 0.5 / 255
"""Half of the distance between two 8-bit values, in [0, 1]."""
_CUT = 96
"""LR pixels on each side of the cut that is measured, and the farthest distance at which a seam is looked for."""
_SIMILAR = 5
"""Ratio of far changes below which two grids are equally good. Attention windows that are cut change 20 times more."""


class TileRules(NamedTuple):
    """What tiles must respect, in LR pixels."""

    grid: int
    """Tiles start at multiples of this."""
    margin: int
    """Pixels to read on every side of a tile's core."""


class _Seam(NamedTuple):
    """What a cut through a noise image changes."""

    width: int
    """Distance from the cut, in LR pixels, up to which sr changes by more than 1/8 of an 8-bit level."""
    far: float
    """Mean change in the quarter that is farthest from the cut, for pixels in [0, 1]."""


def tile_rules(network: nn.Module) -> TileRules:
    """Return the grid and the margin of a network's tiles.

    Networks of this package state their receptive field, which is the margin. If it is one whose outer part hardly
    affects the result (RRDBNet's is 350 pixels), the width of the seam that a cut leaves is measured instead, and a
    quarter is added. For networks of other programs the grid is that of the attention windows in `network.grid`, or a
    multiple of it if a cut there changes pixels far away, and the margin is measured at that grid.
    """
    stated = getattr(network, "receptive_field", None)
    if stated is not None and stated <= _MAX_STATED_OVERLAP:
        return TileRules(_OWN_GRID, int(stated))
    if stated is not None:
        return TileRules(_OWN_GRID, min(_margin(_cut(network, _CUT), _FOREIGN_GRID), int(stated)))
    windows = getattr(network, "grid", None)
    grid, seam = _find_grid(
        network, [windows * k for k in (1, 2, 4)] if windows else [_FOREIGN_GRID * k for k in (1, 2, 3, 4, 6)]
    )
    return TileRules(grid, _margin(seam, grid))


def _margin(seam: _Seam, grid: int) -> int:
    return -(-seam.width * 5 // (4 * grid)) * grid


def _find_grid(network: nn.Module, candidates: list[int]) -> tuple[int, _Seam]:
    """Return the first grid at which a cut changes nothing far away from it, and the seam of that cut.

    With attention over the complete image every cut changes every pixel slightly. Then it is the first grid
    whose far change is not much larger than the smallest one.
    """
    tried: list[tuple[int, _Seam]] = []
    for grid in candidates:
        seam = _cut(network, _position(grid))
        tried.append((grid, seam))
        if seam.far < _HALF_LEVEL / 8:
            return grid, seam
    best = min(seam.far for _, seam in tried)
    return next(((grid, seam) for grid, seam in tried if seam.far <= _SIMILAR * best), tried[0])  # far may be NaN


def _position(grid: int) -> int:
    """Return where to cut: at a multiple of the grid, but not at a multiple of two or three times the grid."""
    return grid * next((n for n in (1, 5, 7, 11, 13, 17, 25) if grid * n >= _CUT), 49)


@torch.inference_mode()
def _cut(network: nn.Module, position: int, side: int = 16) -> _Seam:
    """Upscale the right part of a noise image, from column `position`, with and without the left part beside it."""
    weight = next(network.parameters())
    noise = torch.rand(1, 3, side, position + max(position, _CUT), generator=torch.Generator().manual_seed(0))
    noise = noise.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last)
    complete, right = network(noise).float(), network(noise[:, :, :, position:]).float()
    scale = complete.shape[3] // noise.shape[3]
    # The largest and the mean change of every column of LR pixels, by distance from the cut.
    change = _by_column((complete[:, :, :, position * scale :] - right).abs(), scale)
    visible = (change.amax(0) > _HALF_LEVEL / 4).nonzero()
    far = change[:, -(change.shape[1] // 4) :].mean()
    return _Seam(int(visible.max()) + 1 if len(visible) else 0, float(far))


def _by_column(change: Tensor, scale: int) -> Tensor:
    """Return (1, 3, s*h, s*w) as (values, w): all values that belong to one column of LR pixels."""
    return change.unflatten(3, (-1, scale)).permute(0, 1, 2, 4, 3).flatten(0, 3)
