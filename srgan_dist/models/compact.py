"""SRVGGNetCompact, Real-ESRGAN's small and fast generator, under the published parameter names."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class CompactConfig:
    """SRVGGNetCompact's size. Defaults: `realesr-animevideov3`; `realesr-general-x4v3` has `convs=32`."""

    convs: int = 16
    """Number of convolutions between the first and the last one."""

    channels: int = 64
    """Number of feature maps of each convolution."""

    def build(self, scale: int) -> "SRVGGNetCompact":
        """Return a newly initialized network for any scale >= 1."""
        return SRVGGNetCompact(self, scale)


class SRVGGNetCompact(nn.Module):
    """Maps lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w).

    All convolutions run at LR resolution; their output is added to the nearest-neighbor interpolation of lr. Not in a
    paper: the architecture comes from the Real-ESRGAN authors' code. Input and output are RGB in [0, 1]; the output is
    not clamped.
    """

    def __init__(self, config: CompactConfig, scale: int) -> None:
        super().__init__()
        c = config.channels
        self.scale = scale
        self.receptive_field = config.convs + 2
        """Radius, in LR pixels, of the input region that affects an output pixel."""
        layers: list[nn.Module] = [nn.Conv2d(3, c, 3, padding=1), nn.PReLU(c)]
        for _ in range(config.convs):
            layers += [nn.Conv2d(c, c, 3, padding=1), nn.PReLU(c)]
        self.body = nn.Sequential(*layers, nn.Conv2d(c, 3 * scale**2, 3, padding=1))

    def forward(self, lr: Tensor) -> Tensor:
        residual = F.pixel_shuffle(self.body(lr), self.scale)
        return residual + F.interpolate(lr, scale_factor=float(self.scale), mode="nearest")
