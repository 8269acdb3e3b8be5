"""What to do where the device has too little memory, by what it was needed for."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

from srgan_dist.training.config import TrainConfig

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
    data, narrower = config.data, hasattr(config.generator, "recompute")
    return (
        f"the device has too little memory for data.batch={data.batch} crops of data.hr_crop={data.hr_crop}. Halve "
        "--data.batch and double --accumulate: a step is then made of the same crops. Or --mixed-precision bf16, "
        f"{'--generator.recompute=True, ' if narrower else ''}a smaller --data.hr-crop."
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
