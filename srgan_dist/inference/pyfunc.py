"""A generator as MLflow's own kind of model: what `mlflow.pyfunc.load_model` and `mlflow models serve` call.

MLflow finds this module by the name in the model's own description and hands it our safetensors file: no pickles.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import load_generator


class ServedGenerator:
    """Upscales batches of images, each as `srgan upscale` does it."""

    def __init__(self, file: Path, device: str) -> None:
        model = load_generator(file)
        self._upscaler = Upscaler(model.network, model.scale, device)

    def predict(self, model_input: NDArray[Any], params: dict[str, Any] | None = None) -> NDArray[np.uint8]:
        """(B, h, w, 3) uint8 RGB, any size, as (B, scale*h, scale*w, 3) uint8.

        Raises:
            ValueError: another shape or type.
        """
        del params
        if model_input.dtype != np.uint8 or model_input.ndim != 4 or model_input.shape[3] != 3:
            raise ValueError(f"images are uint8 of shape (B, h, w, 3), not {model_input.dtype} {model_input.shape}")
        return np.stack([self._upscaler(image) for image in model_input])


def _load_pyfunc(path: str) -> ServedGenerator:  # pyright: ignore[reportUnusedFunction] (MLflow calls it)
    return ServedGenerator(Path(path), "cuda" if torch.cuda.is_available() else "cpu")
