"""The MLflow pyfunc flavor of a generator, for `mlflow.pyfunc.load_model` and `mlflow models serve`.

A logged model's metadata names this module as its loader, and MLflow passes it the safetensors file. No pickles are
involved.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import load_generator


class ServedGenerator:
    """Upscales batches of images, with the same results as `srgan upscale`.

    Args:
        file: An exported generator.
        device: "cuda" or "cpu".
    """

    def __init__(self, file: Path, device: str) -> None:
        model = load_generator(file)
        self._upscaler = Upscaler(model.network, model.scale, device)

    def predict(self, model_input: NDArray[Any], params: dict[str, Any] | None = None) -> NDArray[np.uint8]:
        """Upscale a batch of RGB images of any size, uint8 (B, h, w, 3), to uint8 (B, scale*h, scale*w, 3).

        Raises:
            ValueError: If the input has another shape or dtype.
        """
        del params  # part of MLflow's interface
        if model_input.dtype != np.uint8 or model_input.ndim != 4 or model_input.shape[3] != 3:
            raise ValueError(
                f"images must be uint8 of shape (B, h, w, 3), but got {model_input.dtype} of shape {model_input.shape}"
            )
        return np.stack([self._upscaler(image) for image in model_input])


def _load_pyfunc(path: str) -> ServedGenerator:  # pyright: ignore[reportUnusedFunction] (MLflow calls it)
    return ServedGenerator(Path(path), "cuda" if torch.cuda.is_available() else "cpu")
