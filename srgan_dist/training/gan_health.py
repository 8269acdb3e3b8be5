"""GAN diagnostics that need no extra forward pass, and warnings when they leave their healthy range.

The thresholds are rules of thumb; the table in docs/how-to/sick-gan.md says what to do about each warning.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def color_drift(sr: Tensor, hr: Tensor) -> Tensor:
    """Return how far the average color of SR is from that of HR, as a mean over crops and channels, in levels of 255.

    Not from LR: a degradation changes the average color, and a perfect generator restores it.
    """
    return (sr.detach().float().mean((2, 3)) - hr.float().mean((2, 3))).abs().mean() * 255


def gradient_shares(weighted: dict[str, Tensor], sr: Tensor) -> dict[str, Tensor]:
    """Return the share of each weighted loss term in the gradient with respect to the generator's output.

    Args:
        weighted: scalar loss terms, multiplied by their weights.
        sr: the generator's output, with its graph.

    Returns:
        `share_<term>`: the norm of the term's gradient, divided by the sum of all norms.
    """
    norms: dict[str, Tensor] = {}
    factor = 1024  # cancels in the shares; without it, small gradients would underflow in float16
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
    """A warning about one logged metric."""

    name: str
    message: str


class Rule(NamedTuple):
    """The healthy range of a logged metric, and the warning outside of it."""

    name: str
    metric: str
    minimum: float
    maximum: float
    message: str


RULES = (
    Rule(
        "discriminator saturated",
        "accuracy",
        -1,
        0.98,
        "it nearly always tells real from fake, so its gradient vanishes",
    ),
    Rule(
        "discriminator at chance",
        "accuracy",
        0.45,
        2,
        "worse than guessing; the generator is too strong or the learning rate too high",
    ),
    Rule("adversarial term negligible", "share_adversarial", 0.001, 2, "less than 0.1 % of the generator's gradient"),
    Rule("adversarial term dominates", "share_adversarial", -1, 0.9, "more than 90 % of the generator's gradient"),
    Rule(
        "generator gradient large",
        "generator_norm",
        -1,
        100.0,
        "norm above 100; lower the learning rate or clip gradients",
    ),
    Rule(
        "discriminator gradient large",
        "discriminator_norm",
        -1,
        1000.0,
        "norm above 1000; lower the learning rate or clip gradients",
    ),
    Rule("color drift", "color_drift", -1, 4.0, "the average color differs from HR's by more than 4 of 255 levels"),
    Rule("steps skipped", "skipped", -1, 0.01, "more than 1 % of the steps had non-finite gradients"),
)


def health_warnings(means: dict[str, float], starting: bool = False) -> list[HealthWarning]:
    """Return the warnings about one window of logged means.

    Args:
        starting: whether these are a new network's first steps, in which its colors are not right yet.
    """
    return [
        HealthWarning(rule.name, f"{rule.name}: {rule.metric} {means[rule.metric]:.3g}, {rule.message}")
        for rule in RULES
        if rule.metric in means and not rule.minimum <= means[rule.metric] <= rule.maximum
        if not (starting and rule.metric == "color_drift")
    ]
