"""The loss terms of super-resolution GANs. Everything here computes in float32, whatever the networks ran in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srgan_dist.models.vgg import VGGLayer

PixelKind = Literal["l1", "mse"]
Average = Callable[[Tensor], Tensor]
"""Averages a tensor over the processes, gradients too (`distributed.accelerator.average`)."""


def pixel_loss(kind: PixelKind, sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute or squared difference of images in [0, 1]. SRGAN Eq. 4 is the squared one."""
    compare = F.l1_loss if kind == "l1" else F.mse_loss
    return compare(sr.float(), hr.float())


@dataclass(frozen=True, kw_only=True)
class ContentConfig:
    """The VGG19 distance. The defaults are SRGAN's."""

    layers: tuple[tuple[VGGLayer, float], ...] = (("relu5_4", 1.0),)
    """Layers and what each counts: relu5_4 is SRGAN's VGG54, relu2_2 its VGG22, conv5_4 ESRGAN's."""

    distance: PixelKind = "mse"
    """How two feature maps are compared: mse in SRGAN, l1 in ESRGAN."""

    divisor: float = 12.75
    """Features are divided by it: 12.75 in SRGAN Sec. 3.2 (0.006 on the squared distance), 1 in ESRGAN."""

    weights: Path | None = None
    """A file with torchvision's vgg19 weights, for machines without network."""


class ContentLoss(nn.Module):
    """Mean distance of VGG feature maps, summed over the layers.

    Paper: SRGAN Eq. 5; ESRGAN Sec. 3.3 (before the activation, L1); Real-ESRGAN Sec. 4.1 (five layers).

    Args:
        features: maps images to the feature maps of `config.layers`, in that order.
    """

    def __init__(self, features: nn.Module, config: ContentConfig) -> None:
        super().__init__()
        self.features, self.config = features, config

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Gradient reaches `sr` only; `hr`'s features are computed without a graph."""
        wanted = self.features(hr.detach())
        terms = [self._distance(got, w.detach()) for got, w in zip(self.features(sr), wanted, strict=True)]
        return sum((weight * t for (_, weight), t in zip(self.config.layers, terms, strict=True)), sr.new_zeros(()))

    def _distance(self, got: Tensor, wanted: Tensor) -> Tensor:
        compare = F.l1_loss if self.config.distance == "l1" else F.mse_loss
        return compare(got.float() / self.config.divisor, wanted.float() / self.config.divisor)


class AdversarialLoss(Protocol):
    """What a GAN loss is to the step: two functions of the discriminator's raw logits, (B, 1) or (B, 1, H, W)."""

    needs_real_logits: ClassVar[bool]
    """Whether the generator's loss looks at the logits of real images too; otherwise none are computed for it."""

    def for_discriminator(self, real: Tensor, fake: Tensor) -> "DiscriminatorLoss":
        """The discriminator's loss."""
        ...

    def for_generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """The generator's loss; `real` comes detached, and only where the loss is `relative`."""
        ...


@dataclass(frozen=True)
class DiscriminatorLoss:
    """A discriminator's loss, with its logits on real and generated images: relative ones where those count."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor

    def diagnostics(self) -> dict[str, Tensor]:
        """Detached scalars: mean logits of both kinds, and the share of images that it told apart correctly."""
        real, fake = self.real_logits.detach(), self.fake_logits.detach()
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return {"real_logits": real.mean(), "fake_logits": fake.mean(), "accuracy": accuracy}


@dataclass(frozen=True, kw_only=True)
class VanillaGAN:
    """Binary cross-entropy on logits, the generator in its non-saturating form.

    Paper: SRGAN Eq. 2 and 6. Real and fake are not halved.
    """

    needs_real_logits: ClassVar[bool] = False

    def build(self, average: Average) -> AdversarialLoss:
        """Itself: it needs nothing from other processes."""
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
    """How much more real than the average generated image a real one looks, and the reverse; each side halved.

    Paper: ESRGAN Eq. 1 and 2 (relativistic average discriminator). The gradient also goes through the means, as
    in the paper; the authors' code cuts it off in the discriminator's loss.
    """

    mean: Literal["all", "process"] = "all"
    """Average over the crops of all processes, so that N processes train as one would on the whole batch; or over
    each process's own, as the published code does."""

    def build(self, average: Average) -> AdversarialLoss:
        """The loss on top of the processes' `average`."""
        return _RelativisticLoss(average if self.mean == "all" else _own)


def _own(mean: Tensor) -> Tensor:
    return mean


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

    def _loss(self, wanted: Tensor, unwanted: Tensor) -> Tensor:
        """Small where `wanted` lies above the mean of `unwanted`, and that below the mean of `wanted`."""
        # Both means in one tensor: one reduction forward and one backward.
        of_wanted, of_unwanted = self.average(torch.stack([wanted.mean(), unwanted.mean()]))
        return (F.softplus(of_unwanted - wanted).mean() + F.softplus(unwanted - of_wanted).mean()) / 2


AdversarialConfig = VanillaGAN | RelativisticGAN


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What each term counts in the generator's loss of the adversarial phase."""

    pixel: float = 0.0
    """Weight of the pixel term."""

    content: float = 1.0
    """Weight of the VGG term."""

    adversarial: float = 1e-3
    """Weight of the adversarial term (SRGAN Eq. 3)."""
