"""SRVGGNetCompact, Real-ESRGAN's small and fast generator, under the published parameter names."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class CompactConfig:
    """The defaults are those of `realesr-animevideov3`; `realesr-general-x4v3` has 32 convolutions."""

    convs: int = 16
    """Convolutions between the first and the last."""

    channels: int = 64
    """Feature maps."""

    def build(self, scale: int) -> "SRVGGNetCompact":
        """A freshly initialized network for any scale from 1 on."""
        return SRVGGNetCompact(self, scale)


class SRVGGNetCompact(nn.Module):
    """Maps lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w): all work at LR size, on top of nearest-neighbor.

    Not in a paper: from the Real-ESRGAN authors' code. Pixels are RGB in [0, 1] on both sides, not clamped.
    """

    def __init__(self, config: CompactConfig, scale: int) -> None:
        super().__init__()
        c = config.channels
        self.scale = scale
        self.receptive_field = config.convs + 2
        """LR pixels around a pixel that decide about it."""
        layers: list[nn.Module] = [nn.Conv2d(3, c, 3, padding=1), nn.PReLU(c)]
        for _ in range(config.convs):
            layers += [nn.Conv2d(c, c, 3, padding=1), nn.PReLU(c)]
        self.body = nn.Sequential(*layers, nn.Conv2d(c, 3 * scale**2, 3, padding=1))

    def forward(self, lr: Tensor) -> Tensor:
        residual = F.pixel_shuffle(self.body(lr), self.scale)
        return residual + F.interpolate(lr, scale_factor=float(self.scale), mode="nearest")
