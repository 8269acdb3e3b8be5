"""Plans of a batch's degradation: which crops are processed together, and their parameters on the device.

Crops are sorted by canvas, and within a canvas by the kind of noise. So every group is a slice, and no list of indices
has to be copied to the device.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srgan_dist.data.degradations.draws import Draws

Sides = NDArray[np.int64]

_WAITS_FOR_COPIES = ("cuda",)
"""Device types to which copies are asynchronous only from pinned memory."""


class CanvasGroup(NamedTuple):
    """Crops that share a canvas in the first stage."""

    crops: slice
    """The group, in the sorted order."""
    canvas: int
    """Side of the canvas in pixels."""
    poisson: slice
    """Those crops of the group that get Poisson noise."""


class Parameters(NamedTuple):
    """The parameters of each crop in the sorted order: numpy arrays, or tensors once they are on the device."""

    order: Any
    """Position in the batch of each sorted crop, (B,)."""
    restore: Any
    """Position in the sorted order of each crop of the batch, (B,): the inverse of `order`."""
    sizes: Any
    """Sides in pixels after the first and the second resize, (2, B)."""
    modes: Any
    """Filters of the three resizes, (3, B)."""
    gray: Any
    """1 where all channels get the same noise, for both stages, (2, B)."""
    poisson: Any
    """Positions of the crops with Poisson noise in the second stage."""
    early: Any
    """Positions of the crops whose second JPEG comes before the final resize."""
    late: Any
    """Positions of the crops whose second JPEG comes after it."""
    keys: Any
    """Two keys of the noise for each stage, int32 (2, 2, B)."""
    blurs: Any
    """The seven fields of `draws.Blur` for the first, the second and the last blur, concatenated, (7, 3B)."""
    strengths: Any
    """Strengths of the noise of both stages, (2, B)."""
    qualities: Any
    """Qualities of both JPEGs, 0 without JPEG, (2, B)."""
    offsets: Any
    """Top and left edges of the crops within the degraded areas, in LR pixels, in the order of the batch, (B, 2)."""


class BatchPlan(NamedTuple):
    """The plan of a batch's degradation."""

    groups: list[CanvasGroup]
    sizes: tuple[Sides, Sides]
    """The same as `parameters.sizes`, on the CPU."""
    parameters: Parameters


def plan_batch(
    draws: Draws, sizes: tuple[Sides, Sides], canvases: Sequence[int], offsets: Sides, device: torch.device
) -> BatchPlan:
    """Sort the crops of a batch and copy their parameters to the device.

    Args:
        sizes: sides in pixels after the first and the second resize, (B,) each.
        canvases: sides of the canvases in the first stage, ascending. A crop's canvas depends only on its own size, so
            that the result does not depend on the other crops.
        offsets: see `Parameters.offsets`.
    """
    canvas = np.searchsorted(canvases, sizes[0])
    gaussian = np.asarray(draws.first.gaussian, bool)
    order = np.lexsort((gaussian, canvas))
    parameters = _parameters(draws, sizes, order, offsets)
    ordered = sizes[0][order], sizes[1][order]
    groups = list(_groups(canvas[order], gaussian[order], canvases))
    return BatchPlan(groups, ordered, Parameters(*moved(parameters, device)))


def _groups(canvas: Sides, gaussian: NDArray[np.bool_], canvases: Sequence[int]) -> list[CanvasGroup]:
    """Return the groups of sorted crops; `canvas` (B,) gives the number of each crop's canvas."""
    numbers, starts, counts = np.unique(canvas, return_index=True, return_counts=True)
    groups: list[CanvasGroup] = []
    for number, start, count in zip(numbers.tolist(), starts.tolist(), counts.tolist(), strict=True):
        crops = slice(start, start + count)
        groups.append(CanvasGroup(crops, canvases[number], slice(0, count - int(gaussian[crops].sum()))))
    return groups


def _parameters(draws: Draws, sizes: tuple[Sides, Sides], order: Sides, offsets: Sides) -> Parameters:
    """Return the parameters as arrays, in this order of the crops."""
    stages = draws.first, draws.second
    gaussian_last = np.asarray(draws.second.gaussian, bool)[order]
    late = np.asarray(draws.jpeg_last, bool)[order]
    blurs = [
        np.stack([np.asarray(field, np.float32)[order] for field in b])
        for b in (draws.first.blur, draws.second.blur, draws.last)
    ]
    return Parameters(
        order=order,
        restore=np.argsort(order),
        sizes=np.stack(sizes)[:, order],
        modes=np.stack([s.mode for s in stages] + [draws.last_mode])[:, order],
        gray=np.stack([s.gray for s in stages])[:, order],
        poisson=np.flatnonzero(~gaussian_last),
        early=np.flatnonzero(~late),
        late=np.flatnonzero(late),
        keys=np.stack([np.stack([s.key1, s.key2]) for s in stages])[..., order],
        blurs=np.concatenate(blurs, 1),
        strengths=np.stack([s.strength for s in stages])[:, order],
        qualities=np.stack([s.quality for s in stages])[:, order],
        offsets=offsets,
    )


def moved(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Copy arrays to the device in one transfer; floats become float32, int32 stays, and all others become int64.

    The copy to a GPU is asynchronous, from pinned memory. The tensors are views of one buffer.
    """
    ready = [np.ascontiguousarray(a, _dtype(a)) for a in arrays]
    by_size = sorted(range(len(ready)), key=lambda k: -ready[k].itemsize)  # so that each one is aligned to its type
    packed = torch.from_numpy(np.concatenate([ready[k].reshape(-1).view(np.uint8) for k in by_size]))
    if device.type in _WAITS_FOR_COPIES:
        packed = packed.pin_memory()
    packed = packed.to(device, non_blocking=device.type in _WAITS_FOR_COPIES)
    parts = packed.split([ready[k].nbytes for k in by_size])
    tensors: dict[int, Tensor] = {}
    for k, part in zip(by_size, parts, strict=True):
        tensors[k] = part.view(torch.from_numpy(ready[k]).dtype).view(ready[k].shape)
    return [tensors[k] for k in range(len(ready))]


def _dtype(array: NDArray[Any]) -> type[np.generic]:
    if np.issubdtype(array.dtype, np.floating):
        return np.float32
    return np.int32 if array.dtype == np.int32 else np.int64
