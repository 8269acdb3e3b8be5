"""The parameters of a run that people look for first: MLflow lists them at the top."""

from collections.abc import Mapping
from typing import Any

MAIN = (
    "scale", "generator.type", "generator.blocks", "discriminator.type", "data.shards", "data.hr_crop",
    "crops_per_step", "pretrain.steps", "pretrain.schedule.learning_rate", "adversarial.steps",
    "adversarial.schedule.learning_rate", "loss.weights.pixel", "loss.weights.content", "loss.weights.adversarial",
    "seed",
)  # fmt: skip
"""Names of a flattened training configuration."""


def main_first(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with the main ones first; MLflow keeps the order in which they are logged."""
    return {name: params[name] for name in MAIN if name in params} | dict(params)
