"""How SRGAN is trained: one optimizer step of each phase. Nothing here knows about devices or processes."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srgan_dist.data.reader import Pair
from srgan_dist.losses import AdversarialLoss, ContentLoss, PixelKind, Weights, pixel_loss

Backward = Callable[[Tensor], None]
Terms = dict[str, Tensor]
"""Scalars by name: unweighted, detached, on the device. Nothing here waits for the GPU."""


@dataclass(frozen=True)
class Player:
    """A network and its optimizer."""

    net: nn.Module
    """What is called to train it; under DDP the wrapper that reduces its gradients."""
    raw: nn.Module
    """The network itself; the same object as `net` without DDP."""
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Losses:
    """The terms of the adversarial phase. Without `content` (SRGAN-MSE), the pixel term is the content."""

    pixel: PixelKind
    content: ContentLoss | None
    adversarial: AdversarialLoss
    weights: Weights


def pretrain_step(generator: Player, pixel: PixelKind, batch: Pair, backward: Backward) -> Terms:
    """Updates the generator on the pixel loss alone. Paper: SRGAN Sec. 3.2, the MSE-based SRResNet.

    Args:
        batch: lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1].
        backward: `Accelerator.backward`, or `Tensor.backward` in tests.
    """
    loss = pixel_loss(pixel, generator.net(batch.lr), batch.hr)
    _update(generator, loss, backward)
    return {"pixel": loss.detach()}


def gan_step(generator: Player, discriminator: Player, losses: Losses, batch: Pair, backward: Backward) -> Terms:
    """Updates the discriminator, then the generator, on one batch. Paper: SRGAN Eq. 2 and 3.

    Args:
        batch: lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1].
        backward: `Accelerator.backward`, or `Tensor.backward` in tests.
    """
    weights = losses.weights
    sr = generator.net(batch.lr)

    judged = losses.adversarial.for_discriminator(discriminator.net, batch.hr, sr.detach())
    _update(discriminator, judged.loss, backward)

    with _frozen(discriminator.raw) as judge:  # it only scores here; its own gradients would be thrown away
        pixel = pixel_loss(losses.pixel, sr, batch.hr)
        content = losses.content(sr, batch.hr) if losses.content else torch.zeros_like(pixel)
        adversarial = losses.adversarial.for_generator(judge, batch.hr, sr)
        loss = weights.pixel * pixel + weights.content * content + weights.adversarial * adversarial
        _update(generator, loss, backward)

    terms = {"pixel": pixel, "content": content, "adversarial": adversarial, "discriminator": judged.loss}
    terms |= {"real_logits": judged.real_logits, "fake_logits": judged.fake_logits}
    return {name: term.detach() for name, term in terms.items()}


def _update(player: Player, loss: Tensor, backward: Backward) -> None:
    player.optimizer.zero_grad(set_to_none=True)
    backward(loss)
    player.optimizer.step()


@contextmanager
def _frozen(network: nn.Module) -> Generator[nn.Module]:
    # The unwrapped network: DDP would broadcast and reduce for gradients that nobody wants.
    network.requires_grad_(False)
    try:
        yield network
    finally:
        network.requires_grad_(True)
