"""The metrics of a training run: the names under which `metrics.jsonl` and MLflow have them, their units and meaning.

docs/reference/metrics.md documents every one of them.
"""

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric of a training run."""

    name: str
    """In `metrics.jsonl` and in MLflow; the part before the last slash is the section in MLflow."""
    unit: str
    """The unit; empty for pure numbers."""
    meaning: str
    """What it measures."""


_STEP_METRICS = {
    "loss": Metric("loss/generator", "", "the loss that the generator is trained on: the weighted sum of its terms"),
    "pixel": Metric("loss/generator/pixel", "", "pixel term before its weight: MSE or L1 of RGB in [0, 1]"),
    "content": Metric("loss/generator/content", "", "content term before its weight: distance of VGG features"),
    "adversarial": Metric("loss/generator/adversarial", "", "adversarial term before its weight"),
    "artifact": Metric("loss/generator/artifact", "", "loss on artifacts before its weight"),
    "discriminator": Metric("loss/discriminator", "", "the discriminator's loss on real and generated images"),
    "accuracy": Metric("discriminator/accuracy", "share", "real and generated images told apart; 0.5 is guessing"),
    "real_logits": Metric("discriminator/real_logits", "", "mean output on real images; high means real"),
    "fake_logits": Metric("discriminator/fake_logits", "", "mean output on generated images; low means generated"),
    "discriminator_alone": Metric("discriminator/alone", "share", "steps that updated only the discriminator"),
    "generator_norm": Metric("gradient_norm/generator", "", "norm of the generator's gradient, before clipping"),
    "discriminator_norm": Metric("gradient_norm/discriminator", "", "the same of the discriminator"),
    "share_pixel": Metric("gradient_share/pixel", "share", "of the weighted pixel term in the generator's gradient"),
    "share_content": Metric("gradient_share/content", "share", "of the weighted content term"),
    "share_adversarial": Metric("gradient_share/adversarial", "share", "of the weighted adversarial term"),
    "share_artifact": Metric("gradient_share/artifact", "share", "of the weighted loss on artifacts"),
    "color_drift": Metric("generator/color_drift", "levels of 255", "difference of the mean colors of SR and HR"),
    "generator_rate": Metric("learning_rate/generator", "", "learning rate of the generator in the last step"),
    "discriminator_rate": Metric("learning_rate/discriminator", "", "the same of the discriminator"),
    "skipped": Metric("steps/skipped", "share", "steps that were skipped because a gradient was not finite"),
    "replaced": Metric("data/replaced", "crops", "corrupt crops replaced so far, with data.on_bad=skip"),
    "crops_per_s": Metric("performance/crops_per_s", "1/s", "training crops of all processes, without validation"),
    "data_wait": Metric("performance/data_wait", "share", "time that steps waited for data"),
    "memory_gib": Metric("performance/memory_gib", "GiB", "peak memory of the first process: GPU memory, or RAM"),
    "tflops": Metric("performance/tflops", "TFLOP/s", "arithmetic of all processes, where the GPU's peak is known"),
    "of_peak": Metric("performance/of_peak", "share", "tflops relative to the peak of the GPUs"),
}
"""The metrics of a logging window by the names that the step and the meter use."""

_VALIDATION = (
    Metric("validation/psnr_y", "dB", "PSNR of luma"),
    Metric("validation/psnr_y_bicubic", "dB", "the same of bicubic interpolation, for comparison"),
    Metric("validation/ssim_y", "", "SSIM of luma"),
    Metric("validation/niqe", "", "NIQE: naturalness, lower is better"),
    Metric("validation/niqe_bicubic", "", "the same of bicubic interpolation"),
    Metric("validation/niqe_hr", "", "the same of the original images"),
    Metric("validation/gradient_energy", "", "detail relative to HR, which has 1"),
    Metric("validation/grid_ratio", "", "strength of a grid pattern"),
    Metric("validation/color_drift", "levels of 255", "difference of the mean colors of SR and HR"),
    Metric("validation/lpips", "", "LPIPS, lower is better; on request"),
    Metric("validation/dists", "", "DISTS, lower is better; on request"),
    Metric("validation/topiq", "", "TOPIQ, higher is better; on request"),
)

METRICS: tuple[Metric, ...] = (
    *_STEP_METRICS.values(),
    *_VALIDATION,
    Metric("phase", "", "1 in the pretraining phase, 2 in the adversarial phase"),
)
"""All metrics except `health/...`, which are 1 while the warning of that name is active."""

LOSS, PIXEL = (_STEP_METRICS[name].name for name in ("loss", "pixel"))
CROPS_PER_S, DATA_WAIT, MEMORY = (_STEP_METRICS[name].name for name in ("crops_per_s", "data_wait", "memory_gib"))
PSNR, PSNR_BICUBIC = "validation/psnr_y", "validation/psnr_y_bicubic"
NIQE, NIQE_BICUBIC, NIQE_HR = "validation/niqe", "validation/niqe_bicubic", "validation/niqe_hr"
TERMS = tuple(metric.name for metric in _STEP_METRICS.values() if metric.name.startswith("loss/generator/"))
"""The terms of the generator's loss, before their weights."""
DISCRIMINATOR, ACCURACY = _STEP_METRICS["discriminator"].name, _STEP_METRICS["accuracy"].name


def public_name(name: str) -> str:
    """Return the public name of a metric of the step or the meter; `training/NAME` for one that has none."""
    return _STEP_METRICS[name].name if name in _STEP_METRICS else f"training/{name}"
