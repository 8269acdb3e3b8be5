"""RRDBNet, the generator of ESRGAN and Real-ESRGAN, under the published parameter names."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from srgan_dist.utils.usage import UsageError

_RESIDUAL_SCALE = 0.2  # ESRGAN Sec. 3.1, at both levels
_UPS = {1: 0, 2: 1, 4: 2, 8: 3}  # number of x2 upsampling stages by scale
_UNSHUFFLE = {1: 4, 2: 2}  # pixel-unshuffle factor by scale: both end up at x4


@dataclass(frozen=True, kw_only=True)
class RRDBNetConfig:
    """RRDBNet's size. Defaults: the ESRGAN paper's model, with 16.7 million parameters at x4."""

    blocks: int = 23
    """Number of residual-in-residual dense blocks in the trunk."""

    channels: int = 64
    """Number of feature maps in the trunk."""

    growth_channels: int = 32
    """Number of feature maps that each convolution of a dense block adds. Other programs only open weights with 32."""

    unshuffle: bool = False
    """For x1 and x2: apply pixel unshuffle to the input, then upscale by 4, as Real-ESRGAN does. Several times faster
    with less memory; results are slightly softer."""

    recompute: bool = False
    """Recompute each block in the backward pass (gradient checkpointing). Takes a fraction of the memory and about a
    third more time; results are bit-identical."""

    def build(self, scale: int) -> "RRDBNet":
        """Return a newly initialized network for scale 1, 2, 4 or 8, or with `unshuffle` for 1 or 2.

        Raises:
            ValueError: If the scale is another one.
        """
        return RRDBNet(self, scale)


class RRDBNet(nn.Module):
    """Maps lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w).

    Paper: ESRGAN Sec. 3.1 and Fig. 4; `unshuffle`: Real-ESRGAN Sec. 3.4. Input and output are RGB in [0, 1]; the
    output is not clamped. The parameters carry the names of the authors' latest files, so that spandrel, chaiNNer and
    ComfyUI open the weights.

    Raises:
        ValueError: If RRDBNet does not support the scale.
    """

    def __init__(self, config: RRDBNetConfig, scale: int) -> None:
        super().__init__()
        if scale not in (_UNSHUFFLE if config.unshuffle else _UPS):
            known = "1 or 2 with generator.unshuffle" if config.unshuffle else "1, 2, 4 or 8"
            raise UsageError(f"scale={scale} is not supported by RRDBNet: choose {known}")
        c = config.channels
        self.recompute = config.recompute
        self.fold = _UNSHUFFLE[scale] if config.unshuffle else 1
        self.ups = _UPS[scale * self.fold]
        self.scale = scale
        self.conv_first = _conv(3 * self.fold**2, c)
        self.body = nn.Sequential(*(_RRDB(c, config.growth_channels) for _ in range(config.blocks)))
        self.conv_body = _conv(c, c)
        for i in range(self.ups):
            self.add_module(f"conv_up{i + 1}", _conv(c, c))
        self.conv_hr = _conv(c, c)
        self.conv_last = _conv(c, 3)
        if self.fold == 1:  # otherwise features are smaller than lr, and cannot be sliced at the same indices
            self.reconstruct_field = 2
            """Radius, in LR pixels, of the region that `reconstruct` reads for an output pixel."""
        self.receptive_field = (1 + 15 * config.blocks + 1 + 2 + 1) * self.fold - 1
        """Radius, in LR pixels, of the input region that can affect an output pixel; its outer part hardly does."""

    def forward(self, lr: Tensor) -> Tensor:
        sr = self.reconstruct(self.features(lr), lr)
        return sr if self.fold == 1 else sr[:, :, : lr.shape[2] * self.scale, : lr.shape[3] * self.scale]

    def features(self, lr: Tensor) -> Tensor:
        x = self.conv_first(lr if self.fold == 1 else self._unshuffle(lr))
        return x + self.conv_body(self._trunk(x))

    def _trunk(self, x: Tensor) -> Tensor:
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return self.body(x)
        for block in self.body:  # the blocks draw no random numbers, so the RNG state need not be saved
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
        return x

    def reconstruct(self, features: Tensor, lr: Tensor) -> Tensor:
        del lr  # part of the two-stage interface; RRDBNet adds no interpolation of it
        x = features
        for i in range(self.ups):
            x = _activate(self.get_submodule(f"conv_up{i + 1}")(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return self.conv_last(_activate(self.conv_hr(x)))

    def _unshuffle(self, lr: Tensor) -> Tensor:
        bottom, right = (-lr.shape[2]) % self.fold, (-lr.shape[3]) % self.fold
        mode = "reflect" if bottom < lr.shape[2] and right < lr.shape[3] else "replicate"  # reflect needs larger sides
        return F.pixel_unshuffle(F.pad(lr, (0, right, 0, bottom), mode=mode), self.fold)


class _RRDB(nn.Module):
    """Three dense blocks with a scaled residual connection around them (ESRGAN Fig. 4)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(channels, growth)
        self.rdb2 = _DenseBlock(channels, growth)
        self.rdb3 = _DenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * _RESIDUAL_SCALE + x


class _DenseBlock(nn.Module):
    """Five convolutions, each of which takes the block's input and all previous outputs (ESRGAN Fig. 4)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, growth)
        self.conv2 = _conv(channels + growth, growth)
        self.conv3 = _conv(channels + 2 * growth, growth)
        self.conv4 = _conv(channels + 3 * growth, growth)
        self.conv5 = _conv(channels + 4 * growth, channels)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):  # ESRGAN Sec. 3.1: smaller init
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data.mul_(0.1)
            nn.init.zeros_(conv.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        x1 = _activate(self.conv1(x))
        x2 = _activate(self.conv2(torch.cat((x, x1), 1)))
        x3 = _activate(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = _activate(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        x5 = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return x5 * _RESIDUAL_SCALE + x


def _conv(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)
