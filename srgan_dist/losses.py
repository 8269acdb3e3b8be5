"""The loss terms of super-resolution GANs. Everything here computes in float32, whatever the networks ran in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

PixelKind = Literal["l1", "mse"]
Discriminate = Callable[[Tensor], Tensor]


def pixel_loss(kind: PixelKind, sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute or squared difference of images in [0, 1]. SRGAN Eq. 4 is the squared one."""
    compare = F.l1_loss if kind == "l1" else F.mse_loss
    return compare(sr.float(), hr.float())


class ContentLoss(nn.Module):
    """Mean squared distance of VGG feature maps, features scaled by 1/12.75.

    Paper: SRGAN Eq. 5; the scale is from Sec. 3.2 (0.006 on the squared distance).
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Gradient reaches `sr` only; `hr`'s features are computed without a graph."""
        wanted = self.features(hr.detach()).detach()
        return F.mse_loss(self.features(sr).float() / 12.75, wanted.float() / 12.75)


class AdversarialLoss(Protocol):
    """What a GAN loss is to the step: two functions of the discriminator and two batches of images."""

    def for_discriminator(self, discriminate: Discriminate, hr: Tensor, sr: Tensor) -> "Judgement":
        """The discriminator's loss. `sr` must come detached."""
        ...

    def for_generator(self, discriminate: Discriminate, hr: Tensor, sr: Tensor) -> Tensor:
        """The generator's loss; `discriminate` must not collect gradients of its own weights."""
        ...


@dataclass(frozen=True)
class Judgement:
    """A discriminator's loss, with its logits on real and generated images."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor

    def signs(self) -> dict[str, Tensor]:
        """Detached scalars: mean logits of both kinds, and the share of images that it told apart correctly."""
        real, fake = self.real_logits.detach(), self.fake_logits.detach()
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return {"real_logits": real.mean(), "fake_logits": fake.mean(), "accuracy": accuracy}


@dataclass(frozen=True, kw_only=True)
class VanillaGAN:
    """Binary cross-entropy on logits, the generator in its non-saturating form.

    Paper: SRGAN Eq. 2 and 6. Real and fake are not halved.
    """

    def for_discriminator(self, discriminate: Discriminate, hr: Tensor, sr: Tensor) -> Judgement:
        # Two passes, so that BatchNorm sees each kind by itself; one backward, so that DDP reduces once.
        real, fake = discriminate(hr).float(), discriminate(sr).float()
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()  # -log sigmoid(x) = softplus(-x)
        return Judgement(loss, real, fake)

    def for_generator(self, discriminate: Discriminate, hr: Tensor, sr: Tensor) -> Tensor:
        return F.softplus(-discriminate(sr).float()).mean()


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What each term counts in the generator's loss of the adversarial phase."""

    pixel: float = 0.0
    """Weight of the pixel term."""

    content: float = 1.0
    """Weight of the VGG term."""

    adversarial: float = 1e-3
    """Weight of the adversarial term (SRGAN Eq. 3)."""
