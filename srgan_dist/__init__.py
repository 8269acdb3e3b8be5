"""Distributed training of super-resolution GANs with WebDataset shards, Accelerate and MLflow."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srgan_dist.evaluation.evaluate import evaluate as evaluate
    from srgan_dist.inference.upscaler import Upscaler as Upscaler
    from srgan_dist.models.files import load_generator as load_generator
    from srgan_dist.training import presets as presets

__version__ = "0.1.0"

_PUBLIC = {
    "Upscaler": "srgan_dist.inference.upscaler",
    "evaluate": "srgan_dist.evaluation.evaluate",
    "load_generator": "srgan_dist.models.files",
}
"""Public names and the modules that define them. They are imported on first access, so `import srgan_dist` is fast."""


def __getattr__(name: str) -> Any:
    if name == "presets":
        return importlib.import_module("srgan_dist.training.presets")
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC, "presets"]
