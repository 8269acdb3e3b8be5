"""Real-ESRGAN's second-order degradation (Wang et al. 2021, Sec. 3 and Fig. 2), batched on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from srgan_dist.data.degradations.batch_plan import BatchPlan, plan_batch
from srgan_dist.data.degradations.draws import (
    Blur,
    BlurConfig,
    Dice,
    Draws,
    Stage,
    StageConfig,
    draw_last_blur,
    draw_stage,
)
from srgan_dist.data.degradations.jpeg import jpeg, quantization_tables
from srgan_dist.data.degradations.kernels import (
    MARGIN,
    filtered,
    gaussian_matrix,
    kernels,
    mirror_index,
    mirror_padded,
    mirror_padded_whole,
)
from srgan_dist.data.degradations.noise import add_noise, noise_places
from srgan_dist.data.degradations.resampling import resize, resize_matrix
from srgan_dist.data.rng import Indices


class Degraded(NamedTuple):
    """What a degradation makes of HR."""

    lr: Tensor
    """(B, 3, h, w), RGB in [0, 1]."""
    target: Tensor
    """What pixel and content terms compare with, like hr."""


Degrade = Callable[[Tensor, Indices], Degraded]


@dataclass(frozen=True, kw_only=True)
class RealESRGANDegradation:
    """The defaults are the paper's."""

    first: StageConfig = StageConfig()
    """The first pass, on the HR crop."""

    second: StageConfig = StageConfig(
        blur_probability=0.8,
        sigma=(0.2, 1.5),
        resize=(0.3, 0.4, 0.3),
        resize_range=(0.3, 1.2),
        gaussian_sigma=(1.0, 25.0),
        poisson_scale=(0.05, 2.5),
    )
    """The second pass."""

    blur: BlurConfig = BlurConfig()
    """Blur kernels of both passes."""

    gaussian_probability: float = 0.5
    """How often noise is Gaussian; else it is Poisson."""

    gray_probability: float = 0.4
    """How often noise is the same in all channels."""

    jpeg_quality: tuple[int, int] = (30, 95)
    """Lowest and highest quality of both JPEGs."""

    last_sinc_probability: float = 0.8
    """How often the final filter is a sinc; else there is none."""

    sharpen: bool = True
    """Sharpen what is degraded and compared with (not what the discriminator sees)."""

    def build(self, scale: int, seed: int) -> Degrade:
        """The degradation as a function of HR crops (B, 3, H, H) and their indices (B,)."""
        return _RealESRGAN(self, scale, seed)

    def draw(self, seed: int, indices: Indices) -> Draws:
        """What happens to the crops with these indices."""
        dice = Dice(seed, indices)
        chances = self.gaussian_probability, self.gray_probability, self.jpeg_quality
        first = draw_stage(dice, self.first, self.blur, *chances)
        second = draw_stage(dice, self.second, self.blur, *chances)
        last = draw_last_blur(dice, self.blur, self.last_sinc_probability)
        return Draws(first, second, last, dice.choice([1.0, 1.0, 1.0]), dice.chance(0.5))


class _RealESRGAN:
    """Every crop has its own parameters, so nothing is drawn together and no pool of old samples is needed.

    An image that changes its size lives in the corner of a canvas, its edge repeated around it; resizing is a product
    with a matrix per crop, blurring an FFT. Loops go over canvas sizes, never over crops. What does not depend on the
    canvas is computed once for the batch: on a GPU the number of launches is what a small batch waits for.
    """

    def __init__(self, config: RealESRGANDegradation, scale: int, seed: int) -> None:
        self._config, self._scale, self._seed = config, scale, seed
        self._soften: Tensor | None = None

    @torch.no_grad()
    def __call__(self, hr: Tensor, indices: Indices) -> Degraded:
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # TF32 would be visible in JPEG's coefficients
        try:
            with torch.autocast(hr.device.type, enabled=False):
                return self._degrade(hr.float().contiguous(), self._config.draw(self._seed, indices))
        finally:
            torch.set_float32_matmul_precision(precision)

    def _degrade(self, hr: Tensor, draws: Draws) -> Degraded:
        side = hr.shape[-1]
        target = self._target(hr)
        sizes = _sizes(draws.first, side), _sizes(draws.second, side // self._scale)
        plan = plan_batch(draws, sizes, _canvases(side, self._config.first.resize_range[1]), hr.device)
        blur, blur2, last_blur = kernels(Blur(*plan.parameters.blurs)).chunk(3)
        blurred = filtered(mirror_padded_whole(target[plan.parameters.order]), blur)
        small = self._two_passes(blurred, blur2, plan)
        lr = self._finish(small, last_blur, plan, side // self._scale)[plan.parameters.restore]
        return Degraded(*(t.contiguous(memory_format=torch.channels_last) for t in (lr, target)))

    def _target(self, hr: Tensor) -> Tensor:
        if not self._config.sharpen:
            return hr
        if self._soften is None or len(self._soften) != hr.shape[-1]:
            self._soften = gaussian_matrix(hr.shape[-1], side=51, sigma=8.0).to(hr.device)
        return sharpened(hr, self._soften)

    def _two_passes(self, blurred: Tensor, blur2: Tensor, plan: BatchPlan) -> Tensor:
        """From the first blur to the second noise: (B, 3, c, c), each image in its canvas's corner."""
        p, (first, second), side = plan.parameters, plan.parameters.sizes, blurred.shape[-1]
        canvas, small = plan.groups[-1].canvas, self._small_canvas(side)
        reaches = _reach(side, plan.sizes[0]), _reach(*plan.sizes)
        shrink = resize_matrix(torch.full_like(first, side), first, p.modes[0], side, canvas, reaches[0])
        shrink2 = resize_matrix(first, second, p.modes[1], canvas, small, reaches[1])
        places, places2 = (noise_places(n, g, k, canvas) for n, g, k in zip(p.sizes, p.gray, p.keys, strict=True))
        tables, mirror = quantization_tables(p.qualities[0]), mirror_index(first, canvas)
        out = blurred.new_empty(len(blurred), 3, small, small)
        for some, c, poisson in plan.groups:
            x = resize(blurred[some], shrink[some, :c])
            x = add_noise(x, places.of(some, c), p.strengths[0][some], p.gray[0][some], poisson)
            x = jpeg(x, first[some], tables[some])
            x = filtered(mirror_padded(x, mirror[some, : c + 2 * MARGIN]), blur2[some])
            out[some] = resize(x, shrink2[some, :, :c])
        return add_noise(out, places2.of(slice(None), small), p.strengths[1], p.gray[1], p.poisson)

    def _finish(self, images: Tensor, last_blur: Tensor, plan: BatchPlan, side: int) -> Tensor:
        """Second JPEG, and the resize to LR's size with the last sinc, in the order that was drawn."""
        p, size = plan.parameters, plan.parameters.sizes[1]
        tables = quantization_tables(p.qualities[1])
        if len(p.early):
            images[p.early] = jpeg(images[p.early], size[p.early], tables[p.early])
        full, canvas = torch.full_like(size, side), images.shape[-1]
        matrix = resize_matrix(size, full, p.modes[2], canvas, side, _reach(plan.sizes[1], side))
        lr = filtered(mirror_padded_whole(resize(images, matrix)), last_blur)
        if len(p.late):
            margin = -side % 16
            padded = torch.nn.functional.pad(lr[p.late], (0, margin, 0, margin), mode="replicate")
            lr[p.late] = jpeg(padded, full[p.late], tables[p.late])[..., :side, :side]
        return (lr.clamp_(0, 1) * 255).round_() / 255

    def _small_canvas(self, side: int) -> int:
        return _canvas(side // self._scale, max(1.0, self._config.second.resize_range[1]))


def sharpened(hr: Tensor, soften: Tensor) -> Tensor:
    """Unsharp masking where the image differs from its blurred self by more than 10 levels. Real-ESRGAN Sec. 4.1.

    Args:
        soften: the blur along one axis, (H, H).
    """
    residual = hr - soften @ hr @ soften.T
    mask = (residual.abs() * 255 > 10).float()
    softly = soften @ mask @ soften.T
    sharp = (hr + 0.5 * residual).clamp_(0, 1)
    return softly * sharp + (1 - softly) * hr


def _sizes(stage: Stage, side: int) -> Any:
    """New sides in pixels, int64 (B,)."""
    return np.maximum((stage.factor * side).astype(np.int64), min(side, 4))


def _reach(old: Any, new: Any) -> int:
    return int(np.max(-(-old // new), initial=1))


def _canvas(side: int, factor: float) -> int:
    """A canvas for every size up to `factor` times the side; a multiple of 16 for JPEG."""
    return -(-max(int(side * factor), 4) // 16) * 16


def _canvases(side: int, largest: float) -> list[int]:
    """Canvases of the first pass, ascending: small images are many and would waste most of a large one."""
    return sorted({_canvas(side, factor) for factor in (0.4, 0.7, 1.0, max(1.0, largest))})
