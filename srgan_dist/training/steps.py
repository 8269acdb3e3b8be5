"""How SRGAN is trained: one optimizer step of each phase. Nothing here knows about devices or processes.

A step takes its batch in one or several parts (gradient accumulation); the parts' mean gradient is applied once.
A step whose gradient is not finite changes no weight. Under DDP the gradient is the same on every process, so
all of them skip together without asking, and nothing is read back from the device.
"""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from srgan_dist.data.batch import Pair
from srgan_dist.training.gan_health import color_drift, gradient_shares
from srgan_dist.training.losses import AdversarialLoss, ContentLoss, PixelKind, Weights, pixel_loss

Backward = Callable[..., None]
"""`Accelerator.backward` or `Tensor.backward`: a loss, and the keywords of the latter."""
StepMetrics = dict[str, Tensor]
"""Scalars by name: unweighted, detached, on the device. Nothing here waits for the GPU."""


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """A network and its optimizer."""

    net: nn.Module
    """What is called to train it; under DDP the wrapper that reduces its gradients."""
    raw: nn.Module
    """The network itself; the same object as `net` without DDP."""
    optimizer: torch.optim.Optimizer
    """torch's own; a fused one leaves the weights alone where `found_inf` is set."""
    optimizer_step: Callable[[], object]
    """Takes the optimizer's step; Accelerate's knows about the fp16 scaler."""
    unscale: Callable[[], None] = lambda: None
    """Takes the fp16 scaler's factor out of the gradients."""
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext
    """Inside, backward does not reduce over processes."""
    max_norm: float = math.inf
    """Gradients are scaled down to this norm."""
    full_backward: bool = False
    """Backward always takes the gradients of everything: a compiled network cannot leave out those of its weights."""

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """The network's, collected once: walking its modules takes a millisecond of every step."""
        return list(self.raw.parameters())


@dataclass(frozen=True)
class Losses:
    """The terms of the adversarial phase. Without `content` (SRGAN-MSE), the pixel term is the content."""

    pixel: PixelKind
    content: ContentLoss | None
    adversarial: AdversarialLoss
    weights: Weights


def pretrain_step(generator: Trainable, pixel: PixelKind, parts: Sequence[Pair], backward: Backward) -> StepMetrics:
    """Updates the generator on the pixel loss alone. Paper: SRGAN Sec. 3.2, the MSE-based SRResNet.

    Args:
        parts: each lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1].
        backward: `Accelerator.backward`, or `Tensor.backward` in tests.
    """

    def learn(batch: Pair) -> tuple[Tensor, StepMetrics]:
        sr = generator.net(batch.lr)
        loss = pixel_loss(pixel, sr, batch.target)
        return loss, {"pixel": loss, "color_drift": color_drift(sr, batch.lr)}

    return _update(generator, "generator", parts, learn, backward)


def gan_step(
    generator: Trainable,
    discriminator: Trainable,
    losses: Losses,
    parts: Sequence[Pair],
    backward: Backward,
    measure_gradient_shares: bool = False,
) -> StepMetrics:
    """Updates the generator and the discriminator on one batch, each against the other as it was before the step.

    Paper: SRGAN Eq. 2 and 3. With the relativistic loss ESRGAN Eq. 1 to 3; with a degradation Real-ESRGAN Sec. 4.1.
    Not in the papers: both learn from the same logits, so the discriminator looks at each image once. The generator
    steps first, as in the published code of ESRGAN, and the discriminator still judges the images from before.

    Args:
        parts: each lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1].
        backward: `Accelerator.backward`, or `Tensor.backward` in tests.
        probe: also measure what each term contributes to the generator's gradient; costs a backward a term.
    """
    w, gan = losses.weights, losses.adversarial
    # The graphs of several parts would need the memory that accumulation saves.
    shared = len(parts) == 1 and not discriminator.full_backward
    score = discriminator.net if shared else discriminator.raw
    made: list[tuple[Tensor, Tensor | None, Tensor | None]] = []
    """Of each part: generated images, and real and fake logits as far as they can be used again."""

    def create(batch: Pair) -> tuple[Tensor, StepMetrics]:
        sr = generator.net(batch.lr)
        real, fake = _scored(score, batch.hr, graph=shared) if gan.needs_real_logits else None, score(sr)
        made.append((sr.detach(), real, fake) if shared else (sr.detach(), None, None))
        pixel = pixel_loss(losses.pixel, sr, batch.target)
        content = losses.content(sr, batch.target) if losses.content else torch.zeros_like(pixel)
        adversarial = gan.for_generator(None if real is None else real.detach(), fake)
        terms = {"pixel": pixel, "content": content, "adversarial": adversarial}
        weighted = {name: getattr(w, name) * term for name, term in terms.items()}
        diagnostics = {"color_drift": color_drift(sr, batch.lr)} | (
            gradient_shares(weighted, sr) if measure_gradient_shares else {}
        )
        return sum(weighted.values(), start=torch.zeros_like(pixel)), terms | diagnostics

    def judge(batch: Pair) -> tuple[Tensor, StepMetrics]:
        sr, real, fake = made.pop(0)
        # Two passes, so that BatchNorm sees each kind by itself; one backward, so that DDP reduces once.
        real = discriminator.net(batch.hr) if real is None else real
        judged = gan.for_discriminator(real, discriminator.net(sr) if fake is None else fake)
        return judged.loss, {"discriminator": judged.loss} | judged.diagnostics()

    with nullcontext() if shared else _frozen(discriminator.raw):  # it only scores: its gradients would be thrown away
        terms = _update(generator, "generator", parts, create, partial(backward, retain_graph=shared))
    return terms | _update(discriminator, "discriminator", parts, judge, backward)


def _scored(score: nn.Module, images: Tensor, graph: bool) -> Tensor:
    """Logits, with a graph only where it will be used.

    Frozen weights alone would not do: older compilers would take the graph without gradients of this call for the
    discriminator's own pass as well.
    """
    with torch.set_grad_enabled(graph):
        return score(images)


def _update(
    trainable: Trainable,
    name: str,
    parts: Sequence[Pair],
    learn: Callable[[Pair], tuple[Tensor, StepMetrics]],
    backward: Backward,
) -> StepMetrics:
    trainable.optimizer.zero_grad(set_to_none=True)
    means: StepMetrics = {}
    for number, part in enumerate(parts):
        with nullcontext() if number == len(parts) - 1 else trainable.no_sync():
            loss, terms = learn(part)
            # The factor is 1, or NaN where the loss is not finite: some derivatives, L1's say, would hide that.
            backward(loss / len(parts) * (1 + 0 * loss.detach()), inputs=trainable.parameters)
        for term, value in terms.items():
            share = value.detach() / len(parts)
            means[term] = means[term] + share if number else share
    norm = _clip(trainable)
    trainable.optimizer.found_inf = (~norm.isfinite()).float()  # pyright: ignore[reportAttributeAccessIssue]
    trainable.optimizer_step()
    return means | {f"{name}_norm": norm}


def _clip(trainable: Trainable) -> Tensor:
    """The gradient's norm before it is scaled down to the player's limit."""
    trainable.unscale()
    weights = [p for p in trainable.parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
    if trainable.max_norm < math.inf:
        torch.nn.utils.clip_grads_with_norm_(weights, trainable.max_norm, norm)
    return norm


@contextmanager
def _frozen(network: nn.Module) -> Generator[None]:
    # The unwrapped network is used: DDP would reduce gradients that nobody wants.
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
