"""The held-out crops that are looked at again and again during training."""

from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn

from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.accelerator import AcceleratorGroup
from srgan_dist.evaluation.metrics import Quality, quality
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import interpolate
from srgan_dist.inference.fusion import super_resolve
from srgan_dist.training.config import ValidationConfig


class Crop(NamedTuple):
    """The central square of a held-out image."""

    name: str
    lr: Pixels
    hr: Pixels


class Validation:
    """Evaluates the generator on the same crops every time, shared out over the processes."""

    def __init__(self, config: ValidationConfig, shards: ShardSet, accelerator: Accelerator) -> None:
        self._ranks = AcceleratorGroup(accelerator)
        self._scale = shards.scale
        self.crops = [_center(shards, i, config.side) for i in range(min(config.images, len(shards)))]
        bicubic = [quality(interpolate(c.lr, self._scale, "bicubic"), c.hr, self._scale) for c in self.crops]
        self.bicubic = _mean(bicubic)
        """What bicubic reaches on the same crops."""

    def __call__(self, network: nn.Module) -> tuple[Quality, list[Pixels]]:
        """Mean quality over the crops and the upscaled crops, the same on every process."""
        for buffer in network.buffers():  # BatchNorm's statistics differ between processes; the first one's count
            broadcast(buffer)
        mine = range(self._ranks.rank, len(self.crops), self._ranks.size)
        results = sorted(self._ranks.gather([(i, super_resolve(network, self.crops[i].lr)) for i in mine]), key=_first)
        pictures = [sr for _, sr in results]
        qualities = [quality(sr, c.hr, self._scale) for sr, c in zip(pictures, self.crops, strict=True)]
        return _mean(qualities), pictures


def _first(numbered: tuple[int, Pixels]) -> int:
    return numbered[0]


def _mean(qualities: list[Quality]) -> Quality:
    psnr_y, ssim_y = np.mean(qualities, axis=0).tolist()
    return Quality(psnr_y, ssim_y)


def _center(shards: ShardSet, image: int, side: int) -> Crop:
    s, lr, hr = shards.scale, shards.lr(image), shards.hr(image)
    h, w = (min(side // s, n) for n in lr.shape[:2])
    y, x = (lr.shape[0] - h) // 2, (lr.shape[1] - w) // 2
    return Crop(
        shards.keys[image], lr[y : y + h, x : x + w].copy(), hr[s * y : s * (y + h), s * x : s * (x + w)].copy()
    )
