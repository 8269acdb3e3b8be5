"""The training algorithm: one optimizer step of each phase, independent of devices and processes.

A step takes its batch in one or more parts (gradient accumulation) and applies the mean of their gradients once. A step
with a non-finite gradient leaves the weights unchanged. Under DDP every process sees the same reduced gradient, so all
of them skip together without communicating, and nothing is read back from the device.
"""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from srgan_dist.data.batch import Pair
from srgan_dist.training.artifact_loss import ArtifactLoss
from srgan_dist.training.gan_health import color_drift, gradient_shares
from srgan_dist.training.losses import AdversarialLoss, ContentLoss, PixelKind, Weights, pixel_loss

Backward = Callable[..., None]
"""`Accelerator.backward` or `Tensor.backward`, called with a loss and keywords of `Tensor.backward`."""
StepMetrics = dict[str, Tensor]
"""Scalars by name: unweighted, detached, on the device; computing them never waits for the GPU."""


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """A network and its optimizer."""

    net: nn.Module
    """The module to call in training; under DDP the wrapper that reduces gradients."""
    raw: nn.Module
    """The unwrapped module; the same object as `net` without DDP."""
    optimizer: torch.optim.Optimizer
    """A fused torch optimizer, which skips the update if its attribute `found_inf` is 1."""
    optimizer_step: Callable[[], object]
    """Steps the optimizer; Accelerate's version includes the fp16 gradient scaler."""
    unscale: Callable[[], None] = lambda: None
    """Divides the gradients by the fp16 loss scale."""
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext
    """Returns a context in which backward does not reduce gradients over processes."""
    max_norm: float = math.inf
    """Gradients are clipped to this total norm."""
    full_backward: bool = False
    """Whether backward always computes all gradients: a compiled network cannot skip those of its weights."""

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """The network's parameters, collected once: walking the modules takes a millisecond per step."""
        return list(self.raw.parameters())


@dataclass(frozen=True)
class Losses:
    """The loss terms of the adversarial phase. Without `content`, the pixel term takes its place (SRGAN-MSE)."""

    pixel: PixelKind
    content: ContentLoss | None
    adversarial: AdversarialLoss
    weights: Weights
    artifact: ArtifactLoss | None = None


def pretrain_step(generator: Trainable, pixel: PixelKind, parts: Sequence[Pair], backward: Backward) -> StepMetrics:
    """Update the generator on the pixel loss alone. Paper: SRGAN Sec. 3.2, the MSE-based SRResNet.

    Args:
        parts: each lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1].
        backward: `Accelerator.backward`, or `Tensor.backward` in tests.

    Returns:
        `pixel`, `color_drift` and `generator_norm`.
    """

    def generator_loss(batch: Pair) -> tuple[Tensor, StepMetrics]:
        sr = generator.net(batch.lr)
        loss = pixel_loss(pixel, sr, batch.target)
        return loss, {"pixel": loss, "color_drift": color_drift(sr, batch.target)}

    return _update(generator, "generator", parts, generator_loss, backward)


def gan_step(
    generator: Trainable,
    discriminator: Trainable,
    losses: Losses,
    parts: Sequence[Pair],
    backward: Backward,
    measure_gradient_shares: bool = False,
) -> StepMetrics:
    """Update the generator, then the discriminator, on one batch; each against the other as it was before the step.

    Paper: SRGAN Eq. 2 and 3. With the relativistic loss ESRGAN Eq. 1 to 3; with a degradation Real-ESRGAN Sec. 4.1.
    The generator steps first, as in the published code of ESRGAN. Not in the papers: both networks learn from the same
    logits if the batch has one part, so the discriminator processes each image once.

    Args:
        parts: each lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1].
        backward: `Accelerator.backward`, or `Tensor.backward` in tests.
        measure_gradient_shares: also measure each term's share in the generator's gradient; one backward pass per term.
    """
    adversarial = losses.adversarial
    # Shared logits keep the discriminator's graph alive through the generator's update; with several parts, the graphs
    # of all parts would take the memory that accumulation saves. A discriminator that only scores is called without
    # DDP's wrapper, which would reduce gradients that nobody uses.
    share_logits = len(parts) == 1 and not discriminator.full_backward
    score = discriminator.net if share_logits else discriminator.raw
    outputs: list[tuple[Tensor, Tensor | None, Tensor | None]] = []  # sr of each part; real and fake logits if shared

    def generator_loss(batch: Pair) -> tuple[Tensor, StepMetrics]:
        sr = generator.net(batch.lr)
        real = _logits(score, batch.hr, with_graph=share_logits) if adversarial.needs_real_logits else None
        fake = score(sr)
        outputs.append((sr.detach(), real, fake) if share_logits else (sr.detach(), None, None))
        terms = _generator_terms(losses, batch, sr, real, fake)
        weighted = {name: getattr(losses.weights, name) * term for name, term in terms.items()}
        shares = gradient_shares(weighted, sr) if measure_gradient_shares else {}
        loss = sum(weighted.values(), start=torch.zeros_like(terms["pixel"]))
        return loss, terms | {"color_drift": color_drift(sr, batch.target)} | shares

    def discriminator_loss(batch: Pair) -> tuple[Tensor, StepMetrics]:
        sr, real, fake = outputs.pop(0)
        # Two forward passes, so that BatchNorm never mixes real and fake; one backward, so that DDP reduces once.
        real = discriminator.net(batch.hr) if real is None else real
        fake = discriminator.net(sr) if fake is None else fake
        result = adversarial.for_discriminator(real, fake)
        return result.loss, {"discriminator": result.loss} | result.diagnostics()

    with nullcontext() if share_logits else _frozen(discriminator.raw):
        metrics = _update(generator, "generator", parts, generator_loss, partial(backward, retain_graph=share_logits))
    return metrics | _update(discriminator, "discriminator", parts, discriminator_loss, backward)


def discriminator_step(
    generator: Trainable, discriminator: Trainable, losses: Losses, parts: Sequence[Pair], backward: Backward
) -> StepMetrics:
    """Update the discriminator alone, on images of a generator that stays as it is.

    Not in the papers: a new discriminator has to learn what a trained generator's images look like before its gradient
    is of any use.

    Args:
        parts: each lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1].
        backward: `Accelerator.backward`, or `Tensor.backward` in tests.

    Returns:
        `discriminator`, `real_logits`, `fake_logits`, `accuracy` and `discriminator_norm`.
    """

    def discriminator_loss(batch: Pair) -> tuple[Tensor, StepMetrics]:
        with torch.no_grad():
            sr = generator.raw(batch.lr)  # without DDP's wrapper, which would prepare to reduce gradients
        result = losses.adversarial.for_discriminator(discriminator.net(batch.hr), discriminator.net(sr))
        return result.loss, {"discriminator": result.loss} | result.diagnostics()

    return _update(discriminator, "discriminator", parts, discriminator_loss, backward)


def _generator_terms(losses: Losses, batch: Pair, sr: Tensor, real: Tensor | None, fake: Tensor) -> StepMetrics:
    pixel = pixel_loss(losses.pixel, sr, batch.target)
    content = {"content": losses.content(sr, batch.target)} if losses.content else {}
    artifact = {"artifact": losses.artifact(batch.lr, sr, batch.target)} if losses.artifact else {}
    # The generator cannot change the logits of real images: detached, they get no gradient from its loss.
    adversarial = losses.adversarial.for_generator(None if real is None else real.detach(), fake)
    return {"pixel": pixel} | content | artifact | {"adversarial": adversarial}


def _logits(network: nn.Module, images: Tensor, with_graph: bool) -> Tensor:
    """Return the logits of images, with a graph only if it is used later.

    Freezing the weights would not be enough: older compilers would reuse the graph without weight gradients, compiled
    for this call, in the discriminator's own update.
    """
    with torch.set_grad_enabled(with_graph):
        return network(images)


def _update(
    trainable: Trainable,
    name: str,
    parts: Sequence[Pair],
    compute_loss: Callable[[Pair], tuple[Tensor, StepMetrics]],
    backward: Backward,
) -> StepMetrics:
    """Take one optimizer step on the mean loss of the parts; return the means of their metrics."""
    trainable.optimizer.zero_grad(set_to_none=True)
    means: StepMetrics = {}
    for number, part in enumerate(parts):
        # DDP reduces the accumulated gradient once, in the last part's backward.
        with nullcontext() if number == len(parts) - 1 else trainable.no_sync():
            loss, metrics = compute_loss(part)
            # The last factor is 1, or NaN for a non-finite loss: the derivative of L1, for one, would hide it.
            # `inputs` restricts gradients to this network's weights: the graph may run through both networks.
            backward(loss / len(parts) * (1 + 0 * loss.detach()), inputs=trainable.parameters)
        for metric, value in metrics.items():
            weighted = value.detach() / len(parts)
            means[metric] = means[metric] + weighted if number else weighted
    norm = _clip(trainable)
    # The fused kernel reads this flag on the device and skips the update: no synchronization.
    trainable.optimizer.found_inf = (~norm.isfinite()).float()  # pyright: ignore[reportAttributeAccessIssue]
    trainable.optimizer_step()
    return means | {f"{name}_norm": norm}


def _clip(trainable: Trainable) -> Tensor:
    """Clip the gradients to `max_norm`; return their total norm before clipping."""
    trainable.unscale()
    weights = [p for p in trainable.parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
    if trainable.max_norm < math.inf:
        torch.nn.utils.clip_grads_with_norm_(weights, trainable.max_norm, norm)
    return norm


@contextmanager
def _frozen(network: nn.Module) -> Generator[None]:
    """Compute no gradients of the network's weights inside the context: nobody would use them."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
