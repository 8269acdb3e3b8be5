"""LightEDSR: EDSR's residual blocks (Lim et al. 2017) with all convolutions at LR resolution, for short training."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srgan_dist.models.srresnet import interpolate_bicubic

_START = 0.1
"""Factor on the initial weights of the last convolution of each block, and of the network: it starts near bicubic."""


@dataclass(frozen=True, kw_only=True)
class LightEDSRConfig:
    """LightEDSR's size. Not in a paper: EDSR's baseline has 16 blocks."""

    blocks: int = 8
    """Number of residual blocks."""

    channels: int = 64
    """Number of feature maps of each convolution."""

    def build(self, scale: int) -> "LightEDSR":
        """Return a newly initialized network for any scale >= 1."""
        return LightEDSR(self, scale)


class LightEDSR(nn.Module):
    """Maps lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w).

    Paper: EDSR Sec. 3.1, residual blocks without BatchNorm. Not in the paper: one PixelShuffle directly to RGB, as in
    SwinIR's lightweight models, and the bicubic interpolation of lr is added to the output. Per LR pixel this costs a
    fifth of SRResNet with as many blocks. Input and output are RGB in [0, 1]; the output is not clamped.
    """

    def __init__(self, config: LightEDSRConfig, scale: int) -> None:
        super().__init__()
        c = config.channels
        self.scale = scale
        self.receptive_field = 1 + 2 * config.blocks + 1
        """Radius, in LR pixels, of the input region that affects an output pixel; 2 are those of bicubic."""
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.trunk = nn.Sequential(*(_Block(c) for _ in range(config.blocks)))
        self.tail = nn.Conv2d(c, 3 * scale**2, 3, padding=1)
        _scale_down(self.tail)

    def forward(self, lr: Tensor) -> Tensor:
        residual = F.pixel_shuffle(self.tail(self.trunk(self.head(lr))), self.scale)
        return residual + interpolate_bicubic(lr, self.scale)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        _scale_down(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


@torch.no_grad()
def _scale_down(convolution: nn.Conv2d) -> None:
    convolution.weight.mul_(_START)
    nn.init.zeros_(cast("Tensor", convolution.bias))
