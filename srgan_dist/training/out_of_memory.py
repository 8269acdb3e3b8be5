"""What to do where the device has too little memory for a step."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from srgan_dist.training.config import TrainConfig


@contextmanager
def memory_explained(config: TrainConfig) -> Generator[None]:
    """Turns want of memory into a ValueError that says what would need less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(_too_large(config, error)) from error


def _too_large(config: TrainConfig, error: torch.OutOfMemoryError) -> str:
    data, narrower = config.data, hasattr(config.generator, "recompute")
    return (
        f"the device has too little memory for data.batch={data.batch} crops of data.hr_crop={data.hr_crop}. Halve "
        "--data.batch and double --accumulate: a step is then made of the same crops. Or --mixed-precision bf16, "
        f"{'--generator.recompute=True, ' if narrower else ''}a smaller --data.hr-crop. ({str(error).splitlines()[0]})"
    )
