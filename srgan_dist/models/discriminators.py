"""Discriminators, which score as raw logits how real an image looks."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm  # the newer parametrization has other parameter names than published weights

from srgan_dist.utils.usage import UsageError


@dataclass(frozen=True, kw_only=True)
class VGGDiscriminatorConfig:
    """The VGG-style discriminator's size. Defaults: the SRGAN paper's model."""

    channels: int = 64
    """Number of feature maps of the first convolution; the last one has eight times as many."""

    dense: int = 1024
    """Width of the hidden dense layer."""

    batch_norm: bool = True
    """Use BatchNorm, as in the paper."""

    def build(self, hr_crop: int) -> "VGGDiscriminator":
        """Return a newly initialized network for square crops with a side of `hr_crop` HR pixels."""
        return VGGDiscriminator(self, hr_crop)


class VGGDiscriminator(nn.Module):
    """Maps images (B, 3, hr_crop, hr_crop), RGB in [0, 1], to one raw logit per image, (B, 1).

    Paper: SRGAN Fig. 4. The size of the dense layer follows from `hr_crop`, so weights only fit one crop size.
    """

    def __init__(self, config: VGGDiscriminatorConfig, hr_crop: int) -> None:
        super().__init__()
        c = config.channels
        layers: list[nn.Module] = [nn.Conv2d(3, c, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        width = c
        for out, stride in [(c, 2), (2 * c, 1), (2 * c, 2), (4 * c, 1), (4 * c, 2), (8 * c, 1), (8 * c, 2)]:
            layers.append(nn.Conv2d(width, out, 3, stride, padding=1, bias=not config.batch_norm))
            layers += [nn.BatchNorm2d(out)] if config.batch_norm else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            width = out
        self.features = nn.Sequential(*layers)
        side = -(-hr_crop // 16)  # four convolutions of stride 2, each of which rounds up
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * side**2, config.dense),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(config.dense, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


@dataclass(frozen=True, kw_only=True)
class UNetDiscriminatorConfig:
    """The U-Net discriminator's size. Defaults: the Real-ESRGAN paper's model."""

    channels: int = 64
    """Number of feature maps of the first convolution; the deepest one has eight times as many."""

    def build(self, hr_crop: int) -> "UNetDiscriminator":
        """Return a newly initialized network for square crops with a side of `hr_crop` HR pixels.

        Raises:
            ValueError: If `hr_crop` is not a multiple of 8.
        """
        if hr_crop % 8:
            raise UsageError(f"data.hr_crop={hr_crop} must be a multiple of 8 for the U-Net discriminator")
        return UNetDiscriminator(self)


class UNetDiscriminator(nn.Module):
    """Maps images (B, 3, H, W), RGB in [0, 1], to one raw logit per pixel, (B, 1, H, W).

    Paper: Real-ESRGAN Sec. 3.3. All convolutions but the first and the last have spectral normalization. The
    parameters carry the published names.
    """

    def __init__(self, config: UNetDiscriminatorConfig) -> None:
        super().__init__()
        c = config.channels
        self.conv0 = nn.Conv2d(3, c, 3, padding=1)
        self.conv1 = _downsampling_conv(c, 2 * c)
        self.conv2 = _downsampling_conv(2 * c, 4 * c)
        self.conv3 = _downsampling_conv(4 * c, 8 * c)
        self.conv4 = _spectral_conv(8 * c, 4 * c)
        self.conv5 = _spectral_conv(4 * c, 2 * c)
        self.conv6 = _spectral_conv(2 * c, c)
        self.conv7 = _spectral_conv(c, c)
        self.conv8 = _spectral_conv(c, c)
        self.conv9 = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x0 = F.leaky_relu(self.conv0(images), 0.2)
        x1 = F.leaky_relu(self.conv1(x0), 0.2)
        x2 = F.leaky_relu(self.conv2(x1), 0.2)
        x3 = F.leaky_relu(self.conv3(x2), 0.2)
        up = F.leaky_relu(self.conv4(_upsample(x3)), 0.2) + x2
        up = F.leaky_relu(self.conv5(_upsample(up)), 0.2) + x1
        up = F.leaky_relu(self.conv6(_upsample(up)), 0.2) + x0
        return self.conv9(F.leaky_relu(self.conv8(F.leaky_relu(self.conv7(up), 0.2)), 0.2))


def _downsampling_conv(channels: int, out: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels, out, 4, stride=2, padding=1, bias=False))


def _spectral_conv(channels: int, out: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels, out, 3, padding=1, bias=False))


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
