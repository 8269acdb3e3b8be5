"""Real-ESRGAN's second-order degradation (Wang et al. 2021, Sec. 3 and Fig. 2), batched on the device."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srgan_dist.data.degradations.batch_plan import BatchPlan, plan_batch
from srgan_dist.data.degradations.draws import (
    Blur,
    BlurConfig,
    CropRng,
    Draws,
    Stage,
    StageConfig,
    draw_last_blur,
    draw_stage,
    with_probabilities,
)
from srgan_dist.data.degradations.jpeg import jpeg, quantization_tables
from srgan_dist.data.degradations.kernels import (
    MARGIN,
    filtered,
    gaussian_matrix,
    kernels,
    mirror_index,
    mirror_padded,
    mirror_padded_full,
)
from srgan_dist.data.degradations.noise import add_noise, noise_index
from srgan_dist.data.degradations.resampling import resize, resize_matrix
from srgan_dist.data.rng import Indices
from srgan_dist.utils.usage import UsageError


class Degraded(NamedTuple):
    """The result of a degradation, RGB in [0, 1], channels_last."""

    lr: Tensor
    """(B, 3, h, w)."""
    hr: Tensor
    """HR without its margin, (B, 3, s*h, s*w)."""
    target: Tensor
    """Target of the pixel and content terms, in the shape of HR."""


class Degrade(Protocol):
    """A degradation that was built for a scale and a seed."""

    def __call__(self, hr: Tensor, indices: Indices, offsets: NDArray[np.int64] | None = None) -> Degraded:
        """Degrade HR crops.

        Args:
            hr: (B, 3, H, H) in [0, 1].
            indices: numbers of the crops, (B,).
            offsets: if `hr` has the margin of the degradation, top and left edges of the crops within it in LR pixels,
                (B, 2); everything is degraded, then the crops are cut out.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RealESRGANDegradation:
    """Real-ESRGAN's second-order degradation. The defaults are the paper's."""

    first: StageConfig = StageConfig()
    """First stage, which starts from the HR crop."""

    second: StageConfig = StageConfig(
        blur_probability=0.8,
        sigma=(0.2, 1.5),
        resize=(0.3, 0.4, 0.3),
        resize_range=(0.3, 1.2),
        gaussian_sigma=(1.0, 25.0),
        poisson_scale=(0.05, 2.5),
    )
    """Second stage, which starts from the result of the first."""

    blur: BlurConfig = BlurConfig()
    """Blur kernels of both stages."""

    gaussian_probability: float = 0.5
    """Probability of Gaussian noise; otherwise it is Poisson noise."""

    gray_probability: float = 0.4
    """Probability of the same noise in all channels."""

    jpeg_quality: tuple[int, int] = (30, 95)
    """Lowest and highest quality of both JPEG compressions, inclusive."""

    last_sinc_probability: float = 0.8
    """Probability of a final sinc filter."""

    resize_modes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Weights of the filters area, bilinear and bicubic in all three resizes; 0 turns a filter off."""

    margin: int = 144
    """Degrade an area whose side exceeds the crop's by this many HR pixels, and cut the crop from it at a random
    position (the authors' code: 400 pixels for crops of 256). Blocks of JPEG then start anywhere in LR, and few crops
    contain mirrored edges. Rounded down to a multiple of the scale; 0 degrades the crop itself."""

    sharpen: bool = True
    """Sharpen HR for the degradation and for the pixel and content terms; the discriminator sees it unsharpened."""

    def build(self, scale: int, seed: int) -> Degrade:
        """Return the degradation as a function of HR crops and their indices."""
        return _RealESRGAN(self, scale, seed)

    def margin_at(self, scale: int) -> int:
        """Return the margin in HR pixels, a multiple of the scale.

        Raises:
            ValueError: the margin is negative.
        """
        if self.margin < 0:
            raise UsageError(f"degradation.margin={self.margin} must be at least 0; 0 degrades the crop itself")
        return self.margin - self.margin % scale

    def draw(self, seed: int, indices: Indices) -> Draws:
        """Draw the parameters of the crops with these indices, (B,)."""
        rng = CropRng(seed, indices)
        chances = self.gaussian_probability, self.gray_probability, self.jpeg_quality, self.resize_modes
        first = draw_stage(rng, self.first, self.blur, *chances)
        second = draw_stage(rng, self.second, self.blur, *chances)
        last = draw_last_blur(rng, self.blur, self.last_sinc_probability)
        last_mode, jpeg_last = rng.choice(self.resize_modes), rng.chance(0.5)
        first, second = (with_probabilities(rng, c, s) for c, s in ((self.first, first), (self.second, second)))
        return Draws(first, second, last, last_mode, jpeg_last)


class _RealESRGAN:
    """Degrades a batch with parameters of its own for every crop, so no pool of earlier samples is needed.

    An image that changes its size occupies the top left corner of a canvas, which its edge fills up. Resizing is a
    matrix product per crop, blurring an FFT. Loops go over canvas sizes, never over crops. Everything that does not
    depend on the canvas is computed once per batch, because kernel launches dominate a small batch's time on a GPU.
    """

    def __init__(self, config: RealESRGANDegradation, scale: int, seed: int) -> None:
        self._config, self._scale, self._seed = config, scale, seed
        self._blur_matrix: Tensor | None = None

    @torch.no_grad()
    def __call__(self, hr: Tensor, indices: Indices, offsets: NDArray[np.int64] | None = None) -> Degraded:
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # TF32 would change JPEG's coefficients
        try:
            with torch.autocast(hr.device.type, enabled=False):
                return self._degrade(hr.float().contiguous(), self._config.draw(self._seed, indices), offsets)
        finally:
            torch.set_float32_matmul_precision(precision)

    def _degrade(self, hr: Tensor, draws: Draws, offsets: NDArray[np.int64] | None) -> Degraded:
        side, scale = hr.shape[-1], self._scale
        crop = side if offsets is None else side - self._config.margin_at(scale)
        target = self._target(hr)
        # Plan on the CPU from the draws, then one transfer; from here on nothing waits for the device or copies to it.
        sizes = _sizes(draws.first, side), _sizes(draws.second, side // self._scale)
        edges = np.zeros((len(hr), 2), np.int64) if offsets is None else offsets
        plan = plan_batch(draws, sizes, _canvases(side, self._config.first.resize_range[1]), edges, hr.device)
        # All crops are sorted by canvas, blurred at full size (B, 3, H, H), taken through both stages onto one small
        # canvas (B, 3, c, c), finished to (B, 3, h, h), and put back into the order of the batch.
        blur, blur2, last_blur = kernels(Blur(*plan.parameters.blurs)).chunk(3)
        blurred = filtered(mirror_padded_full(target[plan.parameters.order]), blur)
        small = self._two_stages(blurred, blur2, plan)
        lr = self._finish(small, last_blur, plan, side // self._scale)[plan.parameters.restore]
        if crop < side:
            corner = plan.parameters.offsets
            lr, hr, target = (
                _cut(lr, corner, crop // scale), _cut(hr, corner * scale, crop), _cut(target, corner * scale, crop)
            )  # fmt: skip
        return Degraded(*(t.contiguous(memory_format=torch.channels_last) for t in (lr, hr, target)))

    def _target(self, hr: Tensor) -> Tensor:
        if not self._config.sharpen:
            return hr
        if self._blur_matrix is None or len(self._blur_matrix) != hr.shape[-1]:
            self._blur_matrix = gaussian_matrix(hr.shape[-1], side=51, sigma=8.0).to(hr.device)
        return sharpened(hr, self._blur_matrix)

    def _two_stages(self, blurred: Tensor, blur2: Tensor, plan: BatchPlan) -> Tensor:
        """Apply everything from the first resize to the second noise.

        Args:
            blurred: sorted crops after the first blur, (B, 3, H, H).
            blur2: kernels of the second blur, (B, 21, 21).

        Returns:
            (B, 3, c, c), each image in the top left corner of its canvas.
        """
        p, (first, second), side = plan.parameters, plan.parameters.sizes, blurred.shape[-1]
        canvas, small = plan.groups[-1].canvas, self._small_canvas(side)
        # Prepare for the entire batch, on the largest canvas; a group takes the corner that it needs.
        reaches = _reach(side, plan.sizes[0]), _reach(*plan.sizes)
        shrink = resize_matrix(torch.full_like(first, side), first, p.modes[0], side, canvas, reaches[0])
        shrink2 = resize_matrix(first, second, p.modes[1], canvas, small, reaches[1])
        noise, noise2 = (noise_index(n, g, k, canvas) for n, g, k in zip(p.sizes, p.gray, p.keys, strict=True))
        tables, mirror = quantization_tables(p.qualities[0]), mirror_index(first, canvas)
        # First stage and second blur, by canvas: (b, 3, c, c) with c from small to large. The second resize brings all
        # groups onto the same small canvas, so the rest is done for the entire batch at once.
        out = blurred.new_empty(len(blurred), 3, small, small)
        for crops, c, poisson in plan.groups:
            x = resize(blurred[crops], shrink[crops, :c])
            x = add_noise(x, noise.of(crops, c), p.strengths[0][crops], p.gray[0][crops], poisson)
            x = self._jpeg(0, x, first[crops], tables[crops], p.qualities[0][crops])
            x = filtered(mirror_padded(x, mirror[crops, : c + 2 * MARGIN]), blur2[crops])
            out[crops] = resize(x, shrink2[crops, :, :c])
        return add_noise(out, noise2.of(slice(None), small), p.strengths[1], p.gray[1], p.poisson)

    def _finish(self, images: Tensor, last_blur: Tensor, plan: BatchPlan, side: int) -> Tensor:
        """Apply the second JPEG before (`early`) or after (`late`) the final resize and sinc; round LR to 8 bits.

        Args:
            images: (B, 3, c, c), each in the top left corner of its canvas.
            side: side of LR in pixels.
        """
        p, size = plan.parameters, plan.parameters.sizes[1]
        tables = quantization_tables(p.qualities[1])
        quality = p.qualities[1]
        if len(p.early):
            early = images[p.early]
            images[p.early] = self._jpeg(1, early, size[p.early], tables[p.early], quality[p.early])
        full, canvas = torch.full_like(size, side), images.shape[-1]
        matrix = resize_matrix(size, full, p.modes[2], canvas, side, _reach(plan.sizes[1], side))
        lr = filtered(mirror_padded_full(resize(images, matrix)), last_blur)
        if len(p.late):
            margin = -side % 16  # JPEG wants multiples of 16
            padded = torch.nn.functional.pad(lr[p.late], (0, margin, 0, margin), mode="replicate")
            done = self._jpeg(1, padded, full[p.late], tables[p.late], quality[p.late])
            lr[p.late] = done[..., :side, :side]
        return (lr.clamp_(0, 1) * 255).round_() / 255

    def _jpeg(self, stage: int, images: Tensor, size: Tensor, tables: Tensor, quality: Tensor) -> Tensor:
        """Apply the JPEG of a stage, 0 or 1, to the images whose quality is not 0."""
        probability = (self._config.first, self._config.second)[stage].jpeg_probability
        if probability <= 0:
            return images
        compressed = jpeg(images, size, tables)
        return compressed if probability >= 1 else torch.where(quality.view(-1, 1, 1, 1) > 0, compressed, images)

    def _small_canvas(self, side: int) -> int:
        return _canvas(side // self._scale, max(1.0, self._config.second.resize_range[1]))


def sharpened(hr: Tensor, blur_matrix: Tensor) -> Tensor:
    """Apply unsharp masking where the image differs from its blurred version by over 10 levels. Real-ESRGAN Sec. 4.1.

    Args:
        hr: (B, 3, H, H) in [0, 1].
        blur_matrix: the blur along one axis, (H, H).
    """
    residual = hr - blur_matrix @ hr @ blur_matrix.T
    mask = (residual.abs() * 255 > 10).float()
    soft_mask = blur_matrix @ mask @ blur_matrix.T
    sharp = (hr + 0.5 * residual).clamp_(0, 1)
    return soft_mask * sharp + (1 - soft_mask) * hr


def _cut(images: Tensor, corner: Tensor, side: int) -> Tensor:
    """Cut a square from each of the images (B, 3, S, S), at its own top left corner (B, 2)."""
    b, c, s, _ = images.shape
    positions = corner[:, :, None] + torch.arange(side, device=images.device)
    rows = images.gather(2, positions[:, 0].view(b, 1, side, 1).expand(b, c, side, s))
    return rows.gather(3, positions[:, 1].view(b, 1, 1, side).expand(b, c, side, side))


def _sizes(stage: Stage, side: int) -> Any:
    """Return the new sides in pixels, int64 (B,): at least 4, or `side` if that is smaller."""
    return np.maximum((stage.factor * side).astype(np.int64), min(side, 4))


def _reach(old: Any, new: Any) -> int:
    """Return the largest ratio of these sides, rounded up and at least 1; see `resize_matrix`."""
    return int(np.max(-(-old // new), initial=1))


def _canvas(side: int, factor: float) -> int:
    """Return the side of a canvas for images of up to `factor` times `side`; a multiple of 16, as JPEG requires."""
    return -(-max(int(side * factor), 4) // 16) * 16


def _canvases(side: int, largest: float) -> list[int]:
    """Return the canvases of the first stage, ascending; the many small images would waste most of a large one."""
    return sorted({_canvas(side, factor) for factor in (0.4, 0.7, 1.0, max(1.0, largest))})
