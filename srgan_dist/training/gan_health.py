"""How a GAN is doing, from numbers that are on the device anyway, and what to make of them.

Thresholds are the field's rules of thumb; the README's table "Is my GAN healthy?" says what to do about each warning.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def color_drift(sr: Tensor, lr: Tensor) -> Tensor:
    """Mean over crops and channels of how far the average color moved from the LR's, in levels of 255.

    Bicubic enlargement keeps the average, so this is the drift against bicubic.
    """
    return (sr.detach().float().mean((2, 3)) - lr.float().mean((2, 3))).abs().mean() * 255


def gradient_shares(weighted: dict[str, Tensor], sr: Tensor) -> dict[str, Tensor]:
    """What part each weighted loss term has in the gradient that reaches the generator's output.

    Args:
        weighted: scalar terms, each with its weight.
        sr: the generator's output, with its graph.

    Returns:
        `share_<term>`: norms of the terms' gradients over their sum, so that they add up to 1.
    """
    norms: dict[str, Tensor] = {}
    factor = 1024  # shares do not depend on it; small gradients would vanish in float16 without it
    for name, term in weighted.items():
        gradient = (
            torch.autograd.grad(factor * term, sr, retain_graph=True, allow_unused=True)[0]
            if term.requires_grad
            else None
        )
        norms[name] = sr.new_zeros((), dtype=torch.float32) if gradient is None else gradient.float().norm()
    total = sum(norms.values(), start=sr.new_full((), 1e-20, dtype=torch.float32))
    return {f"share_{name}": norm / total for name, norm in norms.items()}


class HealthWarning(NamedTuple):
    """A named finding about one logged number."""

    name: str
    message: str


class Rule(NamedTuple):
    """When a logged mean is worth a word. `below` and `above` are the bounds of what is healthy."""

    name: str
    metric: str
    below: float
    above: float
    message: str


RULES = (
    Rule("discriminator saturated", "accuracy", -1, 0.98, "it tells real from fake nearly always; its gradient fades"),
    Rule(
        "discriminator at chance",
        "accuracy",
        0.45,
        2,
        "it does worse than guessing; generator or learning rate too strong",
    ),
    Rule("adversarial term negligible", "share_adversarial", 0.001, 2, "under 0.1 % of the generator's gradient"),
    Rule("adversarial term dominates", "share_adversarial", -1, 0.9, "over 90 % of the generator's gradient"),
    Rule("generator gradient large", "generator_norm", -1, 100.0, "norm above 100; lower the rate or clip it"),
    Rule(
        "discriminator gradient large", "discriminator_norm", -1, 1000.0, "norm above 1000; lower the rate or clip it"
    ),
    Rule("color drift", "color_drift", -1, 4.0, "average color more than 4 of 255 levels from bicubic's"),
    Rule("steps skipped", "skipped", -1, 0.01, "over 1 % of the steps had gradients that are not finite"),
)


def health_warnings(means: dict[str, float]) -> list[HealthWarning]:
    """What is worth a word in one window of logged means."""
    return [
        HealthWarning(rule.name, f"{rule.name}: {rule.metric} {means[rule.metric]:.3g}, {rule.message}")
        for rule in RULES
        if rule.metric in means and not rule.below <= means[rule.metric] <= rule.above
    ]
