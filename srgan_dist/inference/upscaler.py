"""Upscaling images of any size in tiles within a memory budget, with the same result as in one forward pass.

The plan (`tiling.windows`) covers the image with windows whose cores are disjoint. Batches of windows of one shape go
through the network, and the core of each result is written to the output array. A `TwoStage` generator runs its first
stage on a batch of windows and its second stage, which needs far more memory, on one strip of rows after another.
"""

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
from srgan_dist.inference.seams import tile_rules
from srgan_dist.inference.tiling import Span, Window, batches, best_sides, windows
from srgan_dist.utils.memory import free_bytes, peak_bytes

log = logging.getLogger("srgan_dist")

Image = NDArray[Any]
"""(h, w, C) uint8 or uint16; C is 3 for RGB or 1 for gray."""

_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TILE_BYTES = {"cpu": 1 << 30, "cuda": 16 << 30}
"""Bytes of activations beyond which larger tiles are no faster."""
_STRIP_BYTES = {"cpu": 768 << 20, "cuda": 6 << 30}
"""Bytes of activations for one strip of the second stage: about as many as the first stage needs."""
_PROBE_SIDE = 32
"""Side, in pixels, of the image that memory per pixel is measured with."""
_MIN_TILE = 32
"""Side, in LR pixels, of the smallest core of a tile."""


class NonFiniteError(ValueError):
    """The network returned NaN or infinite values, in its own precision and in fp32.

    Args:
        reason: What the network did, as the rest of a sentence that begins with the network's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the network {reason}")
        self.reason = reason


@runtime_checkable
class TwoStage(Protocol):
    """A generator whose upsampling part can run separately, strip by strip.

    The second stage needs about ten times as much memory per LR pixel but has a small receptive field. Running it in
    strips leaves memory for large tiles in the first stage, which has the large receptive field and therefore the
    expensive overlap.
    """

    reconstruct_field: int
    """Radius, in LR pixels, of the region that `reconstruct` reads for an output pixel."""

    def features(self, lr: Tensor) -> Tensor:
        """Map lr (B, 3, h, w) to features (B, C, h, w)."""
        ...

    def reconstruct(self, features: Tensor, lr: Tensor) -> Tensor:
        """Map features (B, C, h, w) and lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w)."""
        ...


class Upscaler:
    """Upscales images with a generator, in tiles, channels_last and with BatchNorm folded into the convolutions.

    Args:
        network: A generator in eval mode. It is copied and left unchanged.
        scale: The generator's scale.
        device: The torch device to run on.
        precision: The dtype that the network computes in.
        tile: Side of a tile's core in LR pixels; chosen from the free memory when not given.
        batch: Number of tiles per batch; chosen likewise.
        self_ensemble: Average over eight orientations of the image, at eight times the cost.
        seamless: The image is a texture: every edge continues at the opposite one, so that results join without a seam.

    Examples:
        >>> import numpy as np
        >>> import srgan_dist
        >>> from srgan_dist.models import SRResNetConfig
        >>> upscale = srgan_dist.Upscaler(SRResNetConfig(blocks=1, channels=4).build(2).eval(), scale=2)
        >>> sr = upscale(np.zeros((8, 12, 3), np.uint8))
        >>> sr.shape, sr.dtype
        ((16, 24, 3), dtype('uint8'))
    """

    def __init__(
        self, network: nn.Module, scale: int, device: str = "cpu", *, precision: Precision = "no",
        tile: int | None = None, batch: int | None = None, self_ensemble: bool = False,
        seamless: bool = False,
    ) -> None:  # fmt: skip
        self.scale, self._device, self._dtype = scale, torch.device(device), _DTYPES[precision]
        self._tile, self._batch, self.seamless = tile, batch, seamless
        self._original, self._self_ensemble = network, self_ensemble
        exact = self._prepare(torch.float32)
        # Measured in fp32, because fp16 rounds to about an eighth of an 8-bit level, which would look like a seam.
        self._grid, self.margin = tile_rules(exact.network if isinstance(exact, SelfEnsemble) else exact)
        self._network = exact.to(self._dtype)
        self._fallback: nn.Module | None = None
        """The network in fp32, once a tile has overflowed in a lower precision."""
        self._first_bytes, self._second_bytes = self._measure_bytes_per_pixel()

    def _prepare(self, dtype: torch.dtype) -> nn.Module:
        fast = fused(self._original).to(self._device, dtype).to(memory_format=torch.channels_last)
        return SelfEnsemble(fast) if self._self_ensemble else fast

    def __call__(self, lr: Image, progress: ProgressFn = no_progress) -> Image:
        """Return `lr` upscaled by `scale`, with the same dtype and number of channels.

        Raises:
            NonFiniteError: If the network returns NaN or infinite values, also in fp32.
            ValueError: If the device runs out of memory even with the smallest tiles.
        """
        canvas = np.empty((lr.shape[0] * self.scale, lr.shape[1] * self.scale, lr.shape[2]), lr.dtype)
        self.upscale_into(canvas, lr, progress)
        return canvas

    @torch.inference_mode()
    def upscale_into(self, canvas: Image, lr: Image, progress: ProgressFn = no_progress) -> None:
        """Write the upscaled image into `canvas`, tile by tile, so that no other array of that size is allocated.

        Args:
            canvas: `(scale*h, scale*w, C)`, of the same dtype as `lr`.
            lr: (h, w, C) uint8 or uint16.
            progress: Wraps the batches of tiles, for a progress bar.

        Raises:
            NonFiniteError: If the network returns NaN or infinite values, also in fp32.
            ValueError: If the device runs out of memory even with the smallest tiles.
        """
        while True:
            plan, batch = self.plan(*lr.shape[:2])
            try:
                return self._fill(canvas, lr, list(batches(plan, batch)), progress)
            except torch.OutOfMemoryError:
                self._shrink_tiles_after_oom(plan, batch)

    def _shrink_tiles_after_oom(self, plan: list[Window], batch: int) -> None:
        """Halve the batch, or the tiles when the batch is 1, because memory that was free is now in use elsewhere."""
        height, width = plan[0].shape
        if batch == 1 and min(height, width) - 2 * self.margin <= _MIN_TILE:
            raise ValueError(
                f"out of memory for a single tile of {width}x{height} LR pixels; "
                "stop other programs that use this device"
            )
        if batch > 1:
            self._batch = batch // 2
        else:
            self._tile = max(_MIN_TILE, max(height, width) // 2)
        log.warning("out of memory; retrying with %s", f"batches of {self._batch}" if batch > 1 else "smaller tiles")

    def _fill(self, canvas: Image, lr: Image, groups: list[list[Window]], progress: ProgressFn) -> None:
        wrapped, top, left = _wrap(lr, [w for group in groups for w in group])
        for group in progress(groups, "tiles") if len(groups) > 1 else groups:
            # Windows of one shape, cut from the image with their margins: (B, h, w, C).
            tiles = np.stack([
                wrapped[w.rows.start + top : w.rows.stop + top, w.columns.start + left : w.columns.stop + left]
                for w in group
            ])  # fmt: skip
            images = self._to_tensor(tiles)
            if not self._upscale_group(canvas, images, group, self._network, self._dtype):
                self._repeat_in_fp32(canvas, images, group)

    def _upscale_group(
        self, canvas: Image, images: Tensor, group: list[Window], network: nn.Module, dtype: torch.dtype
    ) -> bool:
        """Write the cores of a batch of windows; stop and return False if a value is not finite."""
        # Each strip holds the same rows of every window in the batch; only the cores are copied.
        for rows, sr in self._upscale_strips(images, group, network, dtype):
            if not bool(torch.isfinite(sr).all()):
                return False
            for window, part in zip(group, sr, strict=True):
                self._copy_core(canvas, window, rows, part)
        return True

    def _repeat_in_fp32(self, canvas: Image, images: Tensor, group: list[Window]) -> None:
        if self._dtype != torch.float32:
            if self._fallback is None:
                log.warning("the network overflows in %s; such tiles are repeated in fp32", str(self._dtype)[6:])
                self._fallback = self._prepare(torch.float32)
            if self._upscale_group(canvas, images, group, self._fallback, torch.float32):
                return
        bad = [name for name, tensor in self._original.state_dict().items() if not bool(torch.isfinite(tensor).all())]
        cause = f"its weights are not finite: {', '.join(bad[:3])}" if bad else "its weights are finite"
        raise NonFiniteError(f"returns NaN or infinite values, also in fp32 ({cause})")

    def plan(self, height: int, width: int) -> tuple[list[Window], int]:
        """Return the tiles of an image of height x width LR pixels, and the number of tiles per batch."""
        limit = _TILE_BYTES.get(self._device.type, 1 << 30)
        # Half of the free memory is left for the estimate's error, the result and other processes.
        pixels = min(limit, free_bytes(self._device) / 2) / self._first_bytes
        sides = (self._tile, self._tile) if self._tile else self._best_sides(height, width, pixels)
        plan = windows(height, width, sides, self.margin, self._grid, self.seamless)
        largest = max(w.shape[0] * w.shape[1] for w in plan)
        fitting = max(1, int(pixels // largest)) if self._device.type == "cuda" else 1  # one tile keeps a CPU busy
        return plan, self._batch or fitting

    def _best_sides(self, height: int, width: int, pixels: float) -> tuple[int, int]:
        return best_sides(height, width, pixels, self.margin, self._grid, self.seamless)

    def _measure_bytes_per_pixel(self) -> tuple[float, float]:
        """Return the bytes of activations per LR pixel of the first (or only) stage and of the second stage."""
        network, module, area = self._network, self._network, _PROBE_SIDE**2
        lr = torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE, device=self._device)
        if not isinstance(network, TwoStage):
            return peak_bytes(network, lambda: network(lr.to(self._dtype))) / area, 1
        with torch.inference_mode():
            features = network.features(lr.to(self._dtype))
        first = peak_bytes(module, lambda: network.features(lr.to(self._dtype)))
        return first / area, peak_bytes(module, lambda: network.reconstruct(features, lr)) / area

    def _to_tensor(self, images: Image) -> Tensor:
        """Convert (B, h, w, C) integers to (B, 3, h, w) float32 in [0, 1], channels_last, with gray repeated to RGB."""
        peak = np.iinfo(images.dtype).max
        levels = torch.from_numpy(images.astype(np.int32) if images.dtype == np.uint16 else images)
        chw = levels.to(self._device).permute(0, 3, 1, 2).float() / peak
        return chw.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def _upscale_strips(
        self, images: Tensor, group: list[Window], network: nn.Module, dtype: torch.dtype
    ) -> Iterator[tuple[range, Tensor]]:
        """Yield strips of a batch of windows, as the range of rows within the window and their sr (B, 3, H, W).

        A network without two stages yields a single strip, the complete window.
        """
        height, s = images.shape[2], self.scale
        if not isinstance(network, TwoStage):
            yield range(height), network(images.to(dtype))
            return
        # The first stage runs once, on complete windows; its features stay in memory for all strips.
        features, field = network.features(images.to(dtype)), network.reconstruct_field
        bytes_per_row = self._second_bytes * images.shape[0] * images.shape[3]
        step = max(8, int(_STRIP_BYTES.get(self._device.type, 768 << 20) / bytes_per_row))
        # Rows in the margin of every window belong to no core, so the second stage skips them.
        first, last = min(_core(w.rows).start for w in group), max(_core(w.rows).stop for w in group)
        for y in range(first, last, step):
            rows = range(y, min(last, y + step))
            # A strip reads `field` more rows on both sides, which are cut off again: strips join without a seam.
            top, bottom = max(0, rows.start - field), min(height, rows.stop + field)
            sr = network.reconstruct(features[:, :, top:bottom], images[:, :, top:bottom])
            yield rows, sr[:, :, (rows.start - top) * s : (rows.stop - top) * s]

    def _copy_core(self, canvas: Image, window: Window, rows: range, sr: Tensor) -> None:
        """Copy the part of `sr` (3, H, W), which holds the given rows of the window, that lies in the window's core."""
        s, (y, x) = self.scale, (_core(window.rows), _core(window.columns))
        y = range(max(y.start, rows.start), min(y.stop, rows.stop))
        core = (
            sr[:, (y.start - rows.start) * s : (y.stop - rows.start) * s, x.start * s : x.stop * s].float().clamp(0, 1)
        )
        if canvas.shape[2] == 1:
            core = core.mean(0, keepdim=True)
        peak = np.iinfo(canvas.dtype).max
        # Rounding on the device makes the transfer of 8-bit results four times smaller.
        levels = (core * peak).round().to(torch.int32 if peak > 255 else torch.uint8)
        top, left = (window.rows.start + y.start) * s, window.columns.first * s
        canvas[top : top + levels.shape[1], left : left + levels.shape[2]] = levels.permute(1, 2, 0).cpu().numpy()


def _core(span: Span) -> range:
    """Return the range of the span's core, relative to the start of the span."""
    return range(span.first - span.start, span.last - span.start)


def _wrap(lr: Image, plan: list[Window]) -> tuple[Image, int, int]:
    """Return the image continued at the opposite edges as far as windows read beyond it, and how far above and left."""
    height, width = lr.shape[:2]
    top, left = (max(0, -min(w[axis].start for w in plan)) for axis in (0, 1))
    bottom, right = (max(0, max(w[axis].stop for w in plan) - n) for axis, n in ((0, height), (1, width)))
    if not (top or left or bottom or right):
        return lr, 0, 0
    return np.pad(lr, ((top, bottom), (left, right), (0, 0)), mode="wrap"), top, left
