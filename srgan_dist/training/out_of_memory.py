"""Advice for out-of-memory errors of the device, depending on what ran out of memory."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

from srgan_dist.training.config import TrainConfig
from srgan_dist.training.losses import RelativisticGAN

Work = Literal["training", "validation", "evaluation"]


@contextmanager
def explain_out_of_memory(config: TrainConfig, work: Work = "training") -> Generator[None]:
    """Turn an out-of-memory error of the device into a ValueError that suggests flags which need less memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        advice = {"training": _training, "validation": _validation, "evaluation": _evaluation}[work](config)
        raise ValueError(f"{advice} ({str(error).splitlines()[0]})") from error


def _training(config: TrainConfig) -> str:
    data, remedies = config.data, list[str]()
    parts = next((n for n in range(2, data.batch + 1) if data.batch % n == 0), None)
    if parts:
        batch = data.batch // parts
        effect = "" if _crops_are_independent(config) else f", but BatchNorm and relativistic means see {batch} of them"
        flags = f"--data.batch {batch} --accumulate {parts * config.accumulate}"
        remedies.append(f"{flags} (the same crops per step{effect})")
    if hasattr(config.generator, "recompute"):
        remedies.append("--generator.recompute=True (the same result, but slower)")
    if config.mixed_precision == "no":  # auto never resolves to it on a GPU
        remedies.append("--mixed-precision bf16")
    resume = f" Resume with the same command and {'; or with '.join(remedies)}." if remedies else ""
    return (
        f"the device ran out of memory with data.batch={data.batch} crops of data.hr_crop={data.hr_crop}.{resume} A "
        "new run can also use smaller crops or a smaller network."
    )


def _crops_are_independent(config: TrainConfig) -> bool:
    """Return whether no crop of a batch affects the loss of another one."""
    networks = (config.generator, config.discriminator)
    return not (
        isinstance(config.loss.adversarial, RelativisticGAN) or any(getattr(n, "batch_norm", False) for n in networks)
    )


def _validation(config: TrainConfig) -> str:
    side = config.validation.side
    return (
        f"the device ran out of memory while validating crops of validation.side={side} HR pixels. "
        f"Resume with the same command and --validation.side {max(config.scale, side // 2)}."
    )


def _evaluation(config: TrainConfig) -> str:
    models = config.run_dir / "models"
    return (
        "the device ran out of memory during the final evaluation; training is complete, and its generators are in "
        f"{models}. The same command repeats only the evaluation. Or evaluate on the CPU: "
        f"CUDA_VISIBLE_DEVICES= srgan evaluate --data {' '.join(config.data.shards[:1])} --models {models}/*"
    )
