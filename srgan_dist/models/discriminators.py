"""Discriminators: how real a picture looks, as raw logits."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class VGGDiscriminatorConfig:
    """The defaults are the paper's model."""

    channels: int = 64
    """Feature maps of the first convolution; the last one has eight times as many."""

    dense: int = 1024
    """Width of the hidden dense layer."""

    batch_norm: bool = True
    """BatchNorm, as in the paper."""

    def build(self, hr_crop: int) -> "VGGDiscriminator":
        """A freshly initialised network for square crops of `hr_crop` HR pixels."""
        return VGGDiscriminator(self, hr_crop)


class VGGDiscriminator(nn.Module):
    """Maps images (B, 3, hr_crop, hr_crop), RGB in [0, 1], to one raw logit each, (B, 1).

    Paper: SRGAN Fig. 4. The dense layer adapts to the crop, so another crop size is another network.
    """

    def __init__(self, config: VGGDiscriminatorConfig, hr_crop: int) -> None:
        super().__init__()
        c = config.channels
        layers: list[nn.Module] = [nn.Conv2d(3, c, 3, padding=1), nn.LeakyReLU(0.2)]
        width = c
        for out, stride in [(c, 2), (2 * c, 1), (2 * c, 2), (4 * c, 1), (4 * c, 2), (8 * c, 1), (8 * c, 2)]:
            layers.append(nn.Conv2d(width, out, 3, stride, padding=1, bias=not config.batch_norm))
            layers += [nn.BatchNorm2d(out)] if config.batch_norm else []
            layers.append(nn.LeakyReLU(0.2))
            width = out
        self.features = nn.Sequential(*layers)
        side = -(-hr_crop // 16)  # four convolutions of stride 2, each rounding up
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(width * side**2, config.dense), nn.LeakyReLU(0.2), nn.Linear(config.dense, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))
