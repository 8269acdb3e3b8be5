"""Real-ESRGAN's second-order degradation (Wang et al. 2021, Sec. 3 and Fig. 2), batched on the device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from srgan_dist.data.degradations.draws import BlurConfig, Dice, Draws, Stage, StageConfig, draw_last_blur, draw_stage
from srgan_dist.data.degradations.jpeg import jpeg
from srgan_dist.data.degradations.kernels import filtered, gaussian_matrix, kernels, mirror_padded, mirror_padded_whole
from srgan_dist.data.degradations.noise import add_noise
from srgan_dist.data.degradations.resampling import resize
from srgan_dist.data.rng import Indices

T = TypeVar("T")


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

    grey_probability: float = 0.4
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
        chances = self.gaussian_probability, self.grey_probability, self.jpeg_quality
        first = draw_stage(dice, self.first, self.blur, *chances)
        second = draw_stage(dice, self.second, self.blur, *chances)
        last = draw_last_blur(dice, self.blur, self.last_sinc_probability)
        return Draws(first, second, last, dice.choice([1.0, 1.0, 1.0]), dice.chance(0.5))


class _RealESRGAN:
    """Every crop has its own parameters, so nothing is drawn together and no pool of old samples is needed.

    A picture that changes its size lives in the corner of a canvas, its edge repeated around it; resizing is a
    product with a matrix per crop, blurring an FFT. Loops go over canvas sizes and kinds, never over crops.
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
        self._prepare(hr)
        target = sharpened(hr, self._soften) if self._soften is not None else hr
        there = _moved(draws, hr.device)
        side = hr.shape[-1]
        sizes = _sizes(draws.first, side), _sizes(draws.second, side // self._scale)
        blurred = filtered(mirror_padded_whole(target), kernels(there.first.blur))
        small_canvas = _canvas(side // self._scale, max(1.0, self._config.second.resize_range[1]))
        small = hr.new_empty(len(hr), 3, small_canvas, small_canvas)
        for group, canvas in _groups(sizes[0], side, self._config.first.resize_range[1]):
            some = torch.from_numpy(group).to(hr.device)
            small[some] = self._two_passes(
                blurred[some],
                _taken(draws, group),
                _taken(there, some),
                [s[group] for s in sizes],
                canvas,
                small_canvas,
            )
        lr = self._finish(small, draws, there, sizes[1], side // self._scale)
        return Degraded(*(t.contiguous(memory_format=torch.channels_last) for t in (lr, target)))

    def _prepare(self, hr: Tensor) -> None:
        if self._config.sharpen and (self._soften is None or len(self._soften) != hr.shape[-1]):
            self._soften = gaussian_matrix(hr.shape[-1], side=51, sigma=8.0).to(hr.device)

    def _two_passes(
        self, blurred: Tensor, here: Draws, there: Draws, sizes: list[Any], canvas: int, small_canvas: int
    ) -> Tensor:
        """First resize, noise and JPEG; second blur, resize and noise."""
        first, second = (torch.from_numpy(s).to(blurred.device) for s in sizes)
        whole = torch.full_like(first, blurred.shape[-1])
        x = resize(blurred, whole, first, there.first.mode, canvas, _reach(blurred.shape[-1], sizes[0]))
        x = add_noise(x, first, there.first, _poisson(here.first))
        x = jpeg(x, first, there.first.quality)
        x = filtered(mirror_padded(x, first), kernels(there.second.blur))
        x = resize(x, first, second, there.second.mode, small_canvas, _reach(*sizes))
        return add_noise(x, second, there.second, _poisson(here.second))

    def _finish(self, small: Tensor, here: Draws, there: Draws, sizes: Any, side: int) -> Tensor:
        """Second JPEG, and the resize to LR's size with the last sinc, in the order that was drawn."""
        size = torch.from_numpy(sizes).to(small.device)
        early = torch.from_numpy(np.flatnonzero(~here.jpeg_last)).to(small.device)
        late = torch.from_numpy(np.flatnonzero(here.jpeg_last)).to(small.device)
        small[early] = jpeg(small[early], size[early], there.second.quality[early])
        lr = resize(small, size, torch.full_like(size, side), there.last_mode, side, _reach(sizes, side))
        lr = filtered(mirror_padded_whole(lr), kernels(there.last))
        margin = -side % 16
        padded = torch.nn.functional.pad(lr[late], (0, margin, 0, margin), mode="replicate")
        full = torch.full((len(late),), side, device=small.device)
        lr[late] = jpeg(padded, full, there.second.quality[late])[..., :side, :side]
        return (lr.clamp_(0, 1) * 255).round_() / 255


def sharpened(hr: Tensor, soften: Tensor) -> Tensor:
    """Unsharp masking where the picture differs from its blurred self by more than 10 levels. Real-ESRGAN Sec. 4.1.

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


def _groups(sizes: Any, side: int, largest: float) -> Iterator[tuple[Any, int]]:
    """Which crops share a canvas, and its side. A crop's canvas follows from its own size, so that what it becomes
    does not depend on the others; small ones are many and would waste most of a large canvas."""
    sides = sorted({_canvas(side, factor) for factor in (0.4, 0.7, 1.0, max(1.0, largest))})
    which = np.searchsorted(sides, sizes)
    for number in np.unique(which):
        yield np.flatnonzero(which == number), sides[number]


def _poisson(stage: Stage) -> list[int]:
    return np.flatnonzero(~stage.gaussian).tolist()


def _moved(draws: Draws, device: torch.device) -> Draws:
    """On the device, in one transfer."""
    leaves = list(_leaves(draws))
    packed = torch.from_numpy(np.stack([np.asarray(leaf, np.float64) for leaf in leaves]))
    if device.type == "cuda":
        packed = packed.pin_memory()
    return _like(draws, iter(packed.to(device, non_blocking=True).unbind()))


def _taken(draws: Draws, some: Any) -> Draws:
    return _like(draws, (leaf[some] for leaf in _leaves(draws)))


def _leaves(tree: tuple[Any, ...]) -> Iterator[Any]:
    for part in tree:
        if isinstance(part, tuple):
            yield from _leaves(part)  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield part


def _like(tree: Any, leaves: Iterator[Any]) -> Any:
    return type(tree)(*(_like(part, leaves) if isinstance(part, tuple) else next(leaves) for part in tree))
