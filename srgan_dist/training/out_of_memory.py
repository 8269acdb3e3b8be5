"""What to do where the device has too little memory, by what it was needed for."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

from srgan_dist.training.config import TrainConfig
from srgan_dist.training.losses import RelativisticGAN

Work = Literal["training", "validation", "evaluation"]


@contextmanager
def memory_explained(config: TrainConfig, work: Work = "training") -> Generator[None]:
    """Turn an out-of-memory error of the device into a ValueError that says what would need less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        advice = {"training": _training, "validation": _validation, "evaluation": _evaluation}[work](config)
        raise ValueError(f"{advice} ({str(error).splitlines()[0]})") from error


def _training(config: TrainConfig) -> str:
    data, ways = config.data, list[str]()
    parts = next((n for n in range(2, data.batch + 1) if data.batch % n == 0), None)
    if parts:
        fewer = data.batch // parts
        apart = "" if _crops_are_apart(config) else f", though BatchNorm and relativistic means see {fewer} at a time"
        ways.append(f"--data.batch {fewer} --accumulate {parts * config.accumulate} (a step has the same crops{apart})")
    if hasattr(config.generator, "recompute"):
        ways.append("--generator.recompute=True (the same result, more work)")
    if config.mixed_precision == "no":  # auto is one of the others wherever there is a GPU
        ways.append("--mixed-precision bf16")
    here = f" The same command goes on with {'; or with '.join(ways)}." if ways else ""
    return (
        f"the device has too little memory for data.batch={data.batch} crops of data.hr_crop={data.hr_crop}.{here} A "
        "new run may take smaller crops or a smaller network."
    )


def _crops_are_apart(config: TrainConfig) -> bool:
    """Whether no crop of a batch has a say in what another one gives."""
    networks = (config.generator, config.discriminator)
    return not (
        isinstance(config.loss.adversarial, RelativisticGAN) or any(getattr(n, "batch_norm", False) for n in networks)
    )


def _validation(config: TrainConfig) -> str:
    side = config.validation.side
    return (
        f"the device has too little memory to validate on squares of validation.side={side} HR pixels. "
        f"The same command with --validation.side {max(config.scale, side // 2)} resumes from the last checkpoint."
    )


def _evaluation(config: TrainConfig) -> str:
    models = config.run_dir / "models"
    return (
        "the device has too little memory for the final evaluation; training is complete and its generators are in "
        f"{models}. The same command evaluates again without training. Or evaluate on the CPU: "
        f"CUDA_VISIBLE_DEVICES= srgan evaluate --data {' '.join(config.data.shards[:1])} --models {models}/*"
    )
