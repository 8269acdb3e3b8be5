"""What a step asks of the device: operations that reach torch's dispatcher and are not views, by kind.

    python benchmarks/operations.py [--precision bf16]

Counted on the CPU with small crops, which takes seconds: the numbers do not depend on sizes. On a GPU each of them is
at least one launch, which costs the host some five microseconds. Operations on lists of tensors count once.
"""

import argparse
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import vgg16, vgg19

from srgan_dist.data.batch import Pair
from srgan_dist.distributed.accelerator import start
from srgan_dist.models import vgg
from srgan_dist.models.vgg import VGGNetwork
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.presets import preset
from srgan_dist.training.reports.meter import Meter
from srgan_dist.training.trainable import Networks

PRESETS = ("srgan-x4", "esrgan-x4", "real-esrgan-x4")
_CROP = 32
_NO_LAUNCH = {"aten::_unsafe_view", "aten::detach", "aten::lift_fresh", "aten::is_pinned"}
_CASTS, _COPIES = {"aten::_to_copy"}, {"aten::copy_", "aten::clone", "aten::_foreach_copy_"}


class CountOperations(TorchDispatchMode):
    """Counts what reaches the dispatcher inside it, in forward and backward passes alike."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if not func.is_view and (name := func.name().split(".")[0]) not in _NO_LAUNCH:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))

    def table(self) -> dict[str, int]:
        """Casts (copies to another type), copies, and the rest."""
        casts, copies = (sum(self.counts[n] for n in names) for names in (_CASTS, _COPIES))
        return {"casts": casts, "copies": copies, "rest": self.counts.total() - casts - copies}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("no", "bf16"), default="bf16")
    options = parser.parse_args()
    print(
        f"| step of the adversarial phase, {options.precision} | casts | copies | rest | all |\n|:--|--:|--:|--:|--:|"
    )
    for name in PRESETS:
        counted = count_step(preset(name), options.precision).table()
        print(f"| {name} | {' | '.join(str(n) for n in counted.values())} | {sum(counted.values())} |")
    degradation = count_degradation(preset("real-esrgan-x4")).table()
    print(
        f"| of it the degradation | {' | '.join(str(n) for n in degradation.values())} | {sum(degradation.values())} |"
    )


def count_step(config: TrainConfig, precision: Any) -> CountOperations:
    """Count the second step of the adversarial phase, as the trainer takes it: update and meter."""
    config = replace(config, mixed_precision=precision, data=replace(config.data, hr_crop=_CROP, batch=2))
    accelerator = start(precision)
    with patch.object(vgg, "_download", random_vgg):
        networks, meter = Networks(config, accelerator), Meter(accelerator)
        networks.start_adversarial()
    for _ in range(2):  # the first step makes the optimizers' state
        with CountOperations() as counted:
            terms, skipped = networks.update([_pair(config.scale, 2)], 1e-4, measure_gradient_shares=False)
            meter.add(terms, skipped, 0.0)
    return counted


def count_degradation(config: TrainConfig) -> CountOperations:
    """Count what a degradation does to a batch that has crops of every kind."""
    assert config.degradation
    degrade = config.degradation.build(config.scale, config.seed)
    for _ in range(2):  # the first one builds tables
        with CountOperations() as counted:
            degrade(*_pair(config.scale, 16, crop=64)[1:3])
    return counted


def _pair(scale: int, batch: int, crop: int = _CROP) -> Pair:
    lr, hr = (torch.rand(batch, 3, n, n).to(memory_format=torch.channels_last) for n in (crop // scale, crop))
    return Pair(lr, hr, np.arange(batch, dtype=np.uint64))


def random_vgg(network: VGGNetwork) -> dict[str, torch.Tensor]:
    """Return the convolutions with random weights, as they are in torchvision's file."""
    with torch.device("meta"):
        shapes = {"vgg19": vgg19, "vgg16": vgg16}[network]().features.state_dict()
    return {f"features.{name}": 0.05 * torch.randn(t.shape) for name, t in shapes.items()}


if __name__ == "__main__":
    main()
