"""Run by test_new_generator.py: a generator that this package has never seen, added to the union by one line."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from srgan_dist import models


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """One convolution."""

    width: int = 4
    """Kernel."""

    def build(self, scale: int) -> "Toy":
        """The network."""
        return Toy(self.width, scale)


class Toy(nn.Sequential):
    """Convolution and pixel shuffle."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__(nn.Conv2d(3, 3 * scale**2, 2 * width + 1, padding=width), nn.PixelShuffle(scale))


models.GeneratorConfig = models.GeneratorConfig | ToyConfig  # the line in models/__init__.py

if __name__ == "__main__":
    from srgan_dist.cli.app import main
    from srgan_dist.models.files import load_generator
    from srgan_dist.models.onnx_export import CAN_EXPORT

    shards, run = sys.argv[1:]
    train = [
        "train", "quickstart", "--data.shards", shards, "--run-dir", run, "--generator.type", "toy",
        "--generator.width", "2", "--data.hr-crop", "16", "--data.batch", "2", "--pretrain.steps", "2",
        "--adversarial.steps", "2", "--checkpoint.every", "1", "--validation.every", "4", "--validation.side", "32",
        "--validation.images", "1", "--log-every", "1", "--tracking.enabled", "False",
    ]  # fmt: skip
    assert main(train) == 0
    train[train.index("--adversarial.steps") + 1] = "3"
    assert main(train) == 0  # resumes from its last checkpoint
    assert main(["export", run, "--out", f"{run}/toy.safetensors"]) == 0
    assert not CAN_EXPORT or main(["export", run, "--out", f"{run}/toy.onnx", "--format", "onnx"]) == 0
    loaded = load_generator(Path(run) / "toy.safetensors")
    assert loaded.config == ToyConfig(width=2)
    assert loaded.network(torch.rand(1, 3, 5, 6)).shape == (1, 3, 10, 12)
