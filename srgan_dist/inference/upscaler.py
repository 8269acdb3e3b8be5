"""A generator on images of any size: in tiles, within a memory budget, equal to the whole image at once."""

import logging
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srgan_dist.distributed.group import ProgressFn, no_progress
from srgan_dist.distributed.precision import Precision
from srgan_dist.inference.fusion import SelfEnsemble, fused
from srgan_dist.inference.tiling import Span, Window, batches, best_sides, windows
from srgan_dist.utils.memory import free_bytes, peak_bytes

log = logging.getLogger("srgan_dist")

Image = NDArray[Any]
"""(h, w, C) uint8 or uint16; C is 3 for RGB or 1 for gray."""

_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_ENOUGH = {"cpu": 1 << 30, "cuda": 16 << 30}
"""Bytes of activations beyond which larger tiles bring no speed."""
_STRIP = {"cpu": 768 << 20, "cuda": 6 << 30}
"""Bytes of activations of one strip of the second stage: about what the first stage had."""
_PROBE = 32
_SMALLEST = 32
_OWN_GRID, _GRID = 4, 16
"""Tiles begin at multiples of this: networks fold pixels (ours) or lay windows (others') over what they see."""
_AFFORDABLE_OVERLAP = 64
"""LR pixels."""
_HALF_LEVEL = 0.5 / 255


@runtime_checkable
class TwoStage(Protocol):
    """A generator that does most of its work at LR size and can be asked for the rest in strips.

    The second stage needs ten times the memory per LR pixel but sees only a few pixels around each. Run apart,
    the first can have large tiles, which is what keeps the overlap cheap.
    """

    reconstruct_field: int
    """LR pixels around a pixel that `reconstruct` sees."""

    def features(self, lr: Tensor) -> Tensor:
        """(B, C, h, w)."""
        ...

    def reconstruct(self, features: Tensor, lr: Tensor) -> Tensor:
        """sr (B, 3, scale*h, scale*w)."""
        ...


class Upscaler:
    """A generator made ready for images: BatchNorm folded into the convolutions, channels_last, in tiles.

    Args:
        network: in eval mode; it is copied, not changed.
        precision: what the network computes in.
        tile: side of a tile's result in LR pixels; chosen from the free memory when not given.
        batch: tiles at a time; chosen likewise.
    """

    def __init__(
        self, network: nn.Module, scale: int, device: str = "cpu", *, precision: Precision = "no",
        tile: int | None = None, batch: int | None = None, self_ensemble: bool = False,
    ) -> None:  # fmt: skip
        self.scale, self._device, self._dtype = scale, torch.device(device), _DTYPES[precision]
        self._tile, self._batch = tile, batch
        ready = fused(network).to(self._device, self._dtype).to(memory_format=torch.channels_last)
        self.margin = overlap(ready)
        self._grid = _OWN_GRID if hasattr(ready, "receptive_field") else _GRID
        self._network = SelfEnsemble(ready) if self_ensemble else ready
        self._first_bytes, self._second_bytes = self._measure()

    def __call__(self, lr: Image, progress: ProgressFn = no_progress) -> Image:
        """`lr` at `scale` times its size, of the same type and channels."""
        canvas = np.empty((lr.shape[0] * self.scale, lr.shape[1] * self.scale, lr.shape[2]), lr.dtype)
        self.upscale_into(canvas, lr, progress)
        return canvas

    @torch.inference_mode()
    def upscale_into(self, canvas: Image, lr: Image, progress: ProgressFn = no_progress) -> None:
        """Writes the upscaled image into `canvas` tile by tile: nothing else of its size is ever held."""
        while True:
            plan, batch = self.plan(*lr.shape[:2])
            try:
                return self._fill(canvas, lr, list(batches(plan, batch)), progress)
            except torch.OutOfMemoryError:
                self._shrink_tiles_after_oom(plan, batch)

    def _shrink_tiles_after_oom(self, plan: list[Window], batch: int) -> None:
        """Smaller batches, then smaller tiles: something else has taken memory that was free."""
        height, width = plan[0].shape
        if batch == 1 and min(height, width) - 2 * self.margin <= _SMALLEST:
            raise ValueError(
                f"the device has no memory for a tile of {width}x{height} pixels; stop what else runs there"
            )
        if batch > 1:
            self._batch = batch // 2
        else:
            self._tile = max(_SMALLEST, max(height, width) // 2)
        log.warning("out of memory; going on with %s", f"batches of {self._batch}" if batch > 1 else "smaller tiles")

    def _fill(self, canvas: Image, lr: Image, groups: list[list[Window]], progress: ProgressFn) -> None:
        for group in progress(groups, "tiles") if len(groups) > 1 else groups:
            cuts = np.stack([lr[w.rows.start : w.rows.stop, w.columns.start : w.columns.stop] for w in group])
            for rows, sr in self._results(self._to_tensor(cuts), group):
                for window, part in zip(group, sr, strict=True):
                    self._place(canvas, window, rows, part)

    def plan(self, height: int, width: int) -> tuple[list[Window], int]:
        """The tiles of an image of that size in LR pixels, and how many of them go at a time."""
        enough = _ENOUGH.get(self._device.type, 1 << 30)
        pixels = min(enough, free_bytes(self._device) / 2) / self._first_bytes
        chosen = (self._tile, self._tile) if self._tile else best_sides(height, width, pixels, self.margin, self._grid)
        plan = windows(height, width, chosen, self.margin, self._grid)
        largest = max(w.shape[0] * w.shape[1] for w in plan)
        fitting = max(1, int(pixels // largest)) if self._device.type == "cuda" else 1  # one keeps a CPU busy
        return plan, self._batch or fitting

    def _measure(self) -> tuple[float, float]:
        """Bytes per LR pixel of the first stage, or the only one, and of the second."""
        network, module, area = self._network, self._network, _PROBE**2
        lr = torch.zeros(1, 3, _PROBE, _PROBE, device=self._device)
        if not isinstance(network, TwoStage):
            return peak_bytes(network, lambda: network(lr.to(self._dtype))) / area, 1
        with torch.inference_mode():
            features = network.features(lr.to(self._dtype))
        first = peak_bytes(module, lambda: network.features(lr.to(self._dtype)))
        return first / area, peak_bytes(module, lambda: network.reconstruct(features, lr)) / area

    def _to_tensor(self, images: Image) -> Tensor:
        """(B, 3, h, w) float32 in [0, 1], channels_last."""
        peak = np.iinfo(images.dtype).max
        floats = torch.from_numpy(images.astype(np.int32) if images.dtype == np.uint16 else images)
        chw = floats.to(self._device).permute(0, 3, 1, 2).float() / peak
        return chw.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def _results(self, images: Tensor, group: list[Window]) -> Iterator[tuple[range, Tensor]]:
        """Rows of the window and their sr, one strip after the other."""
        network, height, s = self._network, images.shape[2], self.scale
        if not isinstance(network, TwoStage):
            yield range(height), network(images.to(self._dtype))
            return
        features, field = network.features(images.to(self._dtype)), network.reconstruct_field
        step = max(
            8, int(_STRIP.get(self._device.type, 768 << 20) / (self._second_bytes * images.shape[0] * images.shape[3]))
        )
        first, last = min(_core(w.rows).start for w in group), max(_core(w.rows).stop for w in group)
        for y in range(first, last, step):
            rows = range(y, min(last, y + step))
            top, bottom = max(0, rows.start - field), min(height, rows.stop + field)
            sr = network.reconstruct(features[:, :, top:bottom], images[:, :, top:bottom])
            yield rows, sr[:, :, (rows.start - top) * s : (rows.stop - top) * s]

    def _place(self, canvas: Image, window: Window, rows: range, sr: Tensor) -> None:
        """Copies what of `sr` (3, H, W), the given rows of the window, belongs to the window's result."""
        s, (y, x) = self.scale, (_core(window.rows), _core(window.columns))
        y = range(max(y.start, rows.start), min(y.stop, rows.stop))
        inside = (
            sr[:, (y.start - rows.start) * s : (y.stop - rows.start) * s, x.start * s : x.stop * s].float().clamp(0, 1)
        )
        if canvas.shape[2] == 1:
            inside = inside.mean(0, keepdim=True)
        peak = np.iinfo(canvas.dtype).max
        levels = (inside * peak).round().to(torch.int32 if peak > 255 else torch.uint8)
        top, left = (window.rows.start + y.start) * s, window.columns.first * s
        canvas[top : top + levels.shape[1], left : left + levels.shape[2]] = levels.permute(1, 2, 0).cpu().numpy()


def _core(span: Span) -> range:
    """The result's pixels, counted from the window's start."""
    return range(span.first - span.start, span.last - span.start)


def overlap(network: nn.Module) -> int:
    """LR pixels that a tile must read beyond its result so that its own edge does not show in it.

    The receptive field that the generator states; where that is none, or so large that its rim hardly counts (RRDBNet's
    is 350 pixels), the distance at which a cut through a noise image stops showing, with a quarter to spare.
    """
    stated = getattr(network, "receptive_field", None)
    if stated is not None and stated <= _AFFORDABLE_OVERLAP:
        return int(stated)
    measured = _measure_seam_width(network)
    return measured if stated is None else min(measured, int(stated))


@torch.inference_mode()
def _measure_seam_width(network: nn.Module, side: int = 16, most: int = 96) -> int:
    """How far from a cut, in LR pixels, the result differs by an eighth of one 8-bit level or more."""
    first = next(network.parameters())
    noise = torch.rand(1, 3, side, 2 * most, generator=torch.Generator().manual_seed(0)).to(first.device, first.dtype)
    noise = noise.contiguous(memory_format=torch.channels_last)
    whole, part = network(noise).float(), network(noise[:, :, :, most:]).float()
    scale = part.shape[3] // most
    beyond = (whole[:, :, :, most * scale :] - part).abs().amax(dim=(0, 1, 2)) > _HALF_LEVEL / 4
    reached = int(beyond.nonzero().max()) // scale + 1 if bool(beyond.any()) else 0
    return -(-reached * 5 // (4 * _GRID)) * _GRID
