"""SRResNet, SRGAN's generator (Ledig et al. 2017, Fig. 4)."""

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srgan_dist.utils.usage import UsageError


@dataclass(frozen=True, kw_only=True)
class SRResNetConfig:
    """SRResNet's size. Defaults: the SRGAN paper's model."""

    blocks: int = 16
    """Number of residual blocks in the trunk."""

    channels: int = 64
    """Number of feature maps in the trunk."""

    batch_norm: bool = True
    """Use BatchNorm, as in the paper. Without it, results do not depend on how a batch is split across processes."""

    interpolated_skip: bool = False
    """Add the bicubic interpolation of the LR image to the output, so that the network only learns the residual and
    starts at bicubic quality. Not in the paper."""

    def build(self, scale: int) -> "SRResNet":
        """Return a newly initialized network for scale 2, 3, 4 or 8.

        Raises:
            ValueError: If the scale is another one.
        """
        return SRResNet(self, scale)


class SRResNet(nn.Module):
    """Maps lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w).

    Paper: SRGAN Fig. 4. Input and output are RGB in [0, 1]; the output is not clamped. (The paper's generator returns
    [-1, 1], which only rescales the last layer.)
    """

    def __init__(self, config: SRResNetConfig, scale: int) -> None:
        super().__init__()
        c = config.channels
        self.scale = scale
        self.interpolated_skip = config.interpolated_skip
        self.head = nn.Sequential(nn.Conv2d(3, c, 9, padding=4), nn.PReLU())
        self.trunk = nn.Sequential(*(_ResidualBlock(c, config.batch_norm) for _ in range(config.blocks)))
        self.merge = nn.Sequential(*_convolution(c, config.batch_norm))
        self.upsample = nn.Sequential(*(_Upsample(c, factor) for factor in shuffle_factors(scale)))
        self.tail = nn.Conv2d(c, 3, 9, padding=4)
        factors = shuffle_factors(scale)
        upsampling = sum(1 / math.prod(factors[:i]) for i in range(len(factors)))  # one 3x3 at each stage's resolution
        self.reconstruct_field = max(math.ceil(upsampling + 4 / scale), 2 if self.interpolated_skip else 0)
        """Radius, in LR pixels, of the region that `reconstruct` reads for an output pixel."""
        self.receptive_field = 4 + 2 * config.blocks + 1 + self.reconstruct_field
        """Radius, in LR pixels, of the input region that affects an output pixel."""
        if self.interpolated_skip:  # a zero tail makes the initial output exactly bicubic
            # The marker lets `state_dicts.identify` recognize the skip from the weights alone.
            self.register_buffer("adds_interpolation", torch.ones((), dtype=torch.int64))
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, lr: Tensor) -> Tensor:
        return self.reconstruct(self.features(lr), lr)

    def features(self, lr: Tensor) -> Tensor:
        shallow = self.head(lr)
        return shallow + self.merge(self.trunk(shallow))

    def reconstruct(self, features: Tensor, lr: Tensor) -> Tensor:
        sr = self.tail(self.upsample(features))
        if self.interpolated_skip:
            sr = sr + interpolate_bicubic(lr, self.scale)
        return sr

    def shuffle_last(self) -> None:
        """Move the tail before the last PixelShuffle, for faster inference with the same function.

        A convolution to 3 channels leaves most of a vector unit idle; the moved one computes `factor**2` times as many
        channels at a lower resolution. Afterwards the parameters have other shapes and names, so the network can no
        longer load or save published weights.
        """
        last = self.upsample[-1]
        assert isinstance(last, _Upsample)
        assert isinstance(self.tail, nn.Conv2d)
        self.tail = nn.Sequential(_before_shuffle(self.tail, last.factor), nn.PixelShuffle(last.factor))
        last[1] = nn.Identity()


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(channels, batch_norm), nn.PReLU(), *_convolution(channels, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _convolution(channels: int, batch_norm: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=not batch_norm)  # BatchNorm has a bias of its own
    return [convolution, nn.BatchNorm2d(channels)] if batch_norm else [convolution]


class _Upsample(nn.Sequential):
    def __init__(self, channels: int, factor: int) -> None:
        super().__init__(nn.Conv2d(channels, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor), nn.PReLU())
        self.factor = factor


@torch.no_grad()
def _before_shuffle(conv: nn.Conv2d, factor: int) -> nn.Conv2d:
    """Return the convolution that, followed by PixelShuffle(factor), equals PixelShuffle(factor) followed by `conv`.

    Zero padding is reproduced exactly. Output pixel (y, x) of `conv` is output channel (a, b) = (y, x) mod factor of
    the new one; input pixels are likewise distributed over channels, which maps each tap of the kernel to one weight.
    """
    assert conv.bias is not None
    pad, size, weight = int(conv.padding[0]), conv.kernel_size[0], conv.weight
    reach = -(-pad // factor)
    side, out, channels = 2 * reach + 1, conv.out_channels, conv.in_channels
    kernel = weight.new_zeros(out, factor, factor, channels, factor, factor, side, side)
    for (a, dy), (b, dx) in product(product(range(factor), range(size)), repeat=2):
        (y, i), (x, j) = divmod(a + dy - pad, factor), divmod(b + dx - pad, factor)
        kernel[:, a, b, :, i, j, y + reach, x + reach] = weight[:, :, dy, dx]
    moved = nn.Conv2d(channels * factor**2, out * factor**2, side, padding=reach)
    moved.weight = nn.Parameter(kernel.reshape(moved.weight.shape), requires_grad=False)
    moved.bias = nn.Parameter(conv.bias.repeat_interleave(factor**2), requires_grad=False)
    return moved


def shuffle_factors(scale: int) -> list[int]:
    """Return the factors of the pixel-shuffle stages: one stage per doubling, a single one for x3.

    Raises:
        ValueError: If the scale is not 2, 3, 4 or 8.
    """
    factors = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}
    if scale not in factors:
        raise UsageError(f"scale={scale} is not supported by SRResNet: choose 2, 3, 4 or 8")
    return factors[scale]


def interpolate_bicubic(lr: Tensor, scale: int) -> Tensor:
    """Return the bicubic interpolation (a = -0.5, as in MATLAB and Pillow) of a float (B, 3, h, w) batch in float32."""
    # antialias=True selects a = -0.5 and has no other effect when upscaling. Autocast keeps the operation in float32.
    return F.interpolate(lr.float(), scale_factor=scale, mode="bicubic", antialias=True)
