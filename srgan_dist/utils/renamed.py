"""Current names of what earlier versions called otherwise, so that their files, commands and runs stay readable."""

from collections.abc import Mapping
from typing import Any

RENAMED: dict[str, str] = {
    # Fields of the configuration, which are also flags of the command line.
    "betas": "optimizer.betas",
    "probe_every": "gradient_shares_every",
    "data.rounds": "data.crops_per_decode",
    "data.held": "data.decoded_cache",
    "degradation.grey_probability": "degradation.gray_probability",
    "degradation.blur.generalised_beta": "degradation.blur.generalized_beta",
    "licence": "license",
    # Metrics of the step, in checkpoints.
    "colour_drift": "color_drift",
    # Metrics in `metrics.jsonl`.
    "train/colour_drift": "generator/color_drift",
    "health/colour_drift": "health/color_drift",
    "health/discriminator_blind": "health/discriminator_at_chance",
    "health/adversarial_term_unheard": "health/adversarial_term_negligible",
    "train/pixel": "loss/generator/pixel",
    "train/content": "loss/generator/content",
    "train/adversarial": "loss/generator/adversarial",
    "train/discriminator": "loss/discriminator",
    "train/accuracy": "discriminator/accuracy",
    "train/real_logits": "discriminator/real_logits",
    "train/fake_logits": "discriminator/fake_logits",
    "train/discriminator_alone": "discriminator/alone",
    "train/generator_norm": "gradient_norm/generator",
    "train/discriminator_norm": "gradient_norm/discriminator",
    "train/share_pixel": "gradient_share/pixel",
    "train/share_content": "gradient_share/content",
    "train/share_adversarial": "gradient_share/adversarial",
    "train/color_drift": "generator/color_drift",
    "train/skipped": "steps/skipped",
    "train/replaced": "data/replaced",
    "train/crops_per_s": "performance/crops_per_s",
    "train/data_wait": "performance/data_wait",
    "train/memory_gib": "performance/memory_gib",
    "train/tflops": "performance/tflops",
    "train/of_peak": "performance/of_peak",
    "valid/psnr_y": "validation/psnr_y",
    "valid/bicubic": "validation/psnr_y_bicubic",
    "valid/ssim_y": "validation/ssim_y",
    "valid/niqe": "validation/niqe",
    "valid/niqe_bicubic": "validation/niqe_bicubic",
    "valid/niqe_hr": "validation/niqe_hr",
    "valid/gradient_energy": "validation/gradient_energy",
    "valid/grid_ratio": "validation/grid_ratio",
    "valid/color_drift": "validation/color_drift",
    "valid/lpips": "validation/lpips",
    "valid/dists": "validation/dists",
    "valid/topiq": "validation/topiq",
    # Parts of a checkpoint and of `mlflow.json`.
    "players": "networks",
    "networks.players": "networks.networks",
    "pictures": "images",
}
"""Old names and their current ones, in the order in which they are replaced. Dots separate nested sections."""


def current_name(name: str) -> str:
    """Return the current name of a field or metric, which is the same name if it was never renamed."""
    return RENAMED.get(name, name)


def with_current_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested sections in which every entry has its current name.

    If an entry exists under both names, the one with the current name is kept.
    """
    renamed = dict(content)
    for old, new in RENAMED.items():
        *sections, last = old.split(".")
        owner = _copied_section(renamed, sections, create=False)
        if owner is not None and last in owner:
            value = owner.pop(last)
            *sections, last = new.split(".")
            owner = _copied_section(renamed, sections, create=True)
            if owner is not None:
                owner.setdefault(last, value)
    return renamed


def _copied_section(content: dict[str, Any], path: list[str], create: bool) -> dict[str, Any] | None:
    """Replace the sections along a path by copies, and return the last one, which may then be changed.

    Return None if a section is not a dictionary, or is missing and `create` is false.
    """
    for name in path:
        section = content.get(name, {} if create else None)
        if not isinstance(section, dict):
            return None
        content[name] = dict(section)  # pyright: ignore[reportUnknownArgumentType]
        content = content[name]
    return content
