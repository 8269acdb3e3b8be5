"""The loss terms of super-resolution GANs. They are computed in float32, whatever precision the networks ran in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srgan_dist.models.vgg import VGGLayer, VGGNetwork

PixelKind = Literal["l1", "mse"]
Average = Callable[[Tensor], Tensor]
"""Averages a tensor over all processes, differentiably (`distributed.accelerator.average`)."""


def pixel_loss(kind: PixelKind, sr: Tensor, hr: Tensor) -> Tensor:
    """Return the mean absolute or squared difference of images in [0, 1]. Paper: SRGAN Eq. 4 for the squared one."""
    compare = F.l1_loss if kind == "l1" else F.mse_loss
    return compare(sr.float(), hr.float())


@dataclass(frozen=True, kw_only=True)
class ContentConfig:
    """The content loss on VGG features. The defaults are SRGAN's."""

    network: VGGNetwork = "vgg19"
    """Which network of torchvision; VGG16 has no conv3_4, conv4_4 and conv5_4."""

    layers: tuple[tuple[VGGLayer, float], ...] = (("relu5_4", 1.0),)
    """Layers and their weights: relu5_4 is SRGAN's VGG54, relu2_2 its VGG22, and conv5_4 is ESRGAN's."""

    distance: PixelKind = "mse"
    """How two feature maps are compared: mse in SRGAN, l1 in ESRGAN."""

    divisor: float = 12.75
    """Divisor of the features: 12.75 in SRGAN Sec. 3.2 (0.006 on the squared distance), 1 in ESRGAN."""

    weights: Path | None = None
    """File (.pth or .safetensors) with the network's weights, for machines without internet access; None downloads
    them."""


class ContentLoss(nn.Module):
    """The mean distance of VGG feature maps, summed over the layers with their weights.

    Paper: SRGAN Eq. 5; ESRGAN Sec. 3.3 (before the activation, L1); Real-ESRGAN Sec. 4.1 (five layers).

    Args:
        features: maps images (B, 3, h, w) in [0, 1] to the feature maps of `config.layers`, in that order.
    """

    def __init__(self, features: nn.Module, config: ContentConfig) -> None:
        super().__init__()
        self.features, self.config = features, config

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss as a scalar. Only `sr` gets a gradient; the features of `hr` are computed without a graph."""
        targets = self.features(hr.detach())
        terms = [self._distance(f, target.detach()) for f, target in zip(self.features(sr), targets, strict=True)]
        return sum((weight * t for (_, weight), t in zip(self.config.layers, terms, strict=True)), sr.new_zeros(()))

    def _distance(self, features: Tensor, target: Tensor) -> Tensor:
        compare = F.l1_loss if self.config.distance == "l1" else F.mse_loss
        return compare(features.float() / self.config.divisor, target.float() / self.config.divisor)


class AdversarialLoss(Protocol):
    """A GAN loss: two functions of the discriminator's raw logits, (B, 1) or (B, 1, H, W)."""

    needs_real_logits: ClassVar[bool]
    """Whether the generator's loss uses the logits of real images; otherwise they are not computed for it."""

    def for_discriminator(self, real: Tensor, fake: Tensor) -> "DiscriminatorLoss":
        """Return the discriminator's loss and the logits for diagnostics."""
        ...

    def for_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return the generator's loss; `real` is detached, and None unless `needs_real_logits`."""
        ...


@dataclass(frozen=True)
class DiscriminatorLoss:
    """A discriminator's loss with the logits of real and generated images, or the relative logits if it uses those."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor

    def diagnostics(self) -> dict[str, Tensor]:
        """Return detached scalars: the mean logits, and the accuracy in telling real from generated images."""
        real, fake = self.real_logits.detach(), self.fake_logits.detach()
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return {"real_logits": real.mean(), "fake_logits": fake.mean(), "accuracy": accuracy}


@dataclass(frozen=True, kw_only=True)
class VanillaGAN:
    """Binary cross-entropy on logits, with the non-saturating loss for the generator.

    Paper: SRGAN Eq. 2 and 6. The discriminator's loss is the sum over real and fake images, not their mean.
    """

    needs_real_logits: ClassVar[bool] = False

    def build(self, average: Average) -> AdversarialLoss:
        """Return the loss itself: it is a mean over crops, which needs nothing from the other processes."""
        del average
        return self

    def for_discriminator(self, real: Tensor, fake: Tensor) -> DiscriminatorLoss:
        real, fake = real.float(), fake.float()
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()  # -log sigmoid(x) = softplus(-x)
        return DiscriminatorLoss(loss, real, fake)

    def for_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        del real
        return F.softplus(-fake.float()).mean()


@dataclass(frozen=True, kw_only=True)
class RelativisticGAN:
    """Relativistic average GAN: is a real image more realistic than the average generated one, and vice versa?

    Paper: ESRGAN Eq. 1 and 2; each loss is the mean of its two sides. The gradient also flows through the averages, as
    in the paper; the authors' code detaches them in the discriminator's loss.
    """

    mean: Literal["all", "process"] = "all"
    """Average over the crops of all processes, so that N processes train like one on the entire batch; or over each
    process's own crops, as in the published code."""

    def build(self, average: Average) -> AdversarialLoss:
        """Return the loss, which averages logits over processes with `average` if `mean` is `all`."""
        return _RelativisticLoss(average if self.mean == "all" else _identity)


def _identity(local_mean: Tensor) -> Tensor:
    return local_mean


@dataclass(frozen=True)
class _RelativisticLoss:
    average: Average
    needs_real_logits: ClassVar[bool] = True

    def for_discriminator(self, real: Tensor, fake: Tensor) -> DiscriminatorLoss:
        real, fake = real.float(), fake.float()
        return DiscriminatorLoss(self._loss(real, fake), real - fake.mean(), fake - real.mean())

    def for_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        assert real is not None
        return self._loss(fake.float(), real.float())

    def _loss(self, high: Tensor, low: Tensor) -> Tensor:
        """Return a loss that is small if `high` is above the mean of `low`, and `low` below the mean of `high`."""
        # Both means in one tensor: one all-reduce forward and one backward.
        mean_high, mean_low = self.average(torch.stack([high.mean(), low.mean()]))
        return (F.softplus(mean_low - high).mean() + F.softplus(low - mean_high).mean()) / 2


AdversarialConfig = VanillaGAN | RelativisticGAN


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the terms in the generator's loss of the adversarial phase."""

    pixel: float = 0.0
    """Weight of the pixel term."""

    content: float = 1.0
    """Weight of the VGG term."""

    adversarial: float = 1e-3
    """Weight of the adversarial term (SRGAN Eq. 3)."""

    artifact: float = 0.0
    """Weight of the loss on the adversarial term's artifacts (Liang et al. 2022); 100 times that of `pixel` has about
    the same share in the gradient. 0 leaves it out."""
