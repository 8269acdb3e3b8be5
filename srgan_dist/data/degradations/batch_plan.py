"""What is done to a batch: which crops are handled together, and their parameters on the device after one transfer.

Crops are put in an order in which those that share a canvas stand together, and among them those with Poisson noise:
every group is a slice then, and no list of crops has to reach the device.
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
"""Kinds of devices to which only pinned memory is copied without waiting."""


class CanvasGroup(NamedTuple):
    """Crops of the first pass that share a canvas."""

    crops: slice
    canvas: int
    """Its side in pixels."""
    poisson: slice
    """Which of the group's crops get Poisson noise."""


class Parameters(NamedTuple):
    """Of each crop, in the batch's order: arrays before they are moved, tensors after."""

    order: Any
    """Which crop of the batch stands here, (B,)."""
    restore: Any
    """Where each crop of the batch stands, (B,)."""
    sizes: Any
    """Sides after the first and the second resize, (2, B)."""
    modes: Any
    """Of the three resizes, (3, B)."""
    gray: Any
    """1 where all channels get the same noise, of both passes, (2, B)."""
    poisson: Any
    """Places of the crops with Poisson noise in the second pass."""
    early: Any
    """Places of the crops whose second JPEG comes before the final resize."""
    late: Any
    """Places of the others."""
    keys: Any
    """Where the noise's hashes start, int32, (2, 2, B): two keys of each pass."""
    blurs: Any
    """The fields of `draws.Blur`, of the first, second and last blur one behind the other, (7, 3B)."""
    strengths: Any
    """Of the noise of both passes, (2, B)."""
    qualities: Any
    """Of both JPEGs, (2, B)."""


class BatchPlan(NamedTuple):
    """What is done to a batch."""

    groups: list[CanvasGroup]
    sizes: tuple[Sides, Sides]
    """`Parameters.sizes` on the host."""
    parameters: Parameters


def plan_batch(draws: Draws, sizes: tuple[Sides, Sides], canvases: Sequence[int], device: torch.device) -> BatchPlan:
    """Order the crops of a batch and move their parameters to the device.

    Args:
        sizes: sides in pixels after the first and the second resize, (B,) each.
        canvases: sides of the first pass's canvases, ascending. A crop's canvas follows from its own size, so that
            what it becomes does not depend on the others.
    """
    which = np.searchsorted(canvases, sizes[0])
    gaussian = np.asarray(draws.first.gaussian, bool)
    order = np.lexsort((gaussian, which))
    parameters = _parameters(draws, sizes, order)
    ordered = sizes[0][order], sizes[1][order]
    groups = list(_groups(which[order], gaussian[order], canvases))
    return BatchPlan(groups, ordered, Parameters(*moved(parameters, device)))


def _groups(which: Sides, gaussian: NDArray[np.bool_], canvases: Sequence[int]) -> list[CanvasGroup]:
    numbers, starts, counts = np.unique(which, return_index=True, return_counts=True)
    groups: list[CanvasGroup] = []
    for number, start, count in zip(numbers.tolist(), starts.tolist(), counts.tolist(), strict=True):
        crops = slice(start, start + count)
        groups.append(CanvasGroup(crops, canvases[number], slice(0, count - int(gaussian[crops].sum()))))
    return groups


def _parameters(draws: Draws, sizes: tuple[Sides, Sides], order: Sides) -> Parameters:
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
    )


def moved(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Return arrays as tensors on the device, after one transfer: floats as float32, int32 as it is, others as int64.

    From pinned memory and without waiting where the device is a GPU. The tensors are parts of one.
    """
    ready = [np.ascontiguousarray(a, _dtype(a)) for a in arrays]
    by_size = sorted(range(len(ready)), key=lambda k: -ready[k].itemsize)  # so that each starts where its type may
    packed = torch.from_numpy(np.concatenate([ready[k].reshape(-1).view(np.uint8) for k in by_size]))
    if device.type in _WAITS_FOR_COPIES:
        packed = packed.pin_memory()
    packed = packed.to(device, non_blocking=True)
    parts = packed.split([ready[k].nbytes for k in by_size])
    tensors: dict[int, Tensor] = {}
    for k, part in zip(by_size, parts, strict=True):
        tensors[k] = part.view(torch.from_numpy(ready[k]).dtype).view(ready[k].shape)
    return [tensors[k] for k in range(len(ready))]


def _dtype(array: NDArray[Any]) -> type[np.generic]:
    if np.issubdtype(array.dtype, np.floating):
        return np.float32
    return np.int32 if array.dtype == np.int32 else np.int64
