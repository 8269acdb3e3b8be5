"""Validation during training, always on the same held-out crops."""

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
    """The center crop of a held-out image, uint8 RGB (h, w, 3)."""

    name: str
    lr: Pixels
    hr: Pixels


class Validation:
    """Evaluates a generator on the center crops of the first held-out images, distributed over the processes."""

    def __init__(self, config: ValidationConfig, shards: ShardSet, accelerator: Accelerator) -> None:
        self._group = AcceleratorGroup(accelerator)
        self._scale = shards.scale
        self.crops = [_center(shards, i, config.side) for i in range(min(config.images, len(shards)))]
        bicubic = [quality(interpolate(c.lr, self._scale, "bicubic"), c.hr, self._scale) for c in self.crops]
        self.bicubic = _mean(bicubic)
        """Mean quality of bicubic interpolation on the same crops."""

    def __call__(self, network: nn.Module) -> tuple[Quality, list[Pixels]]:
        """Return the mean quality over the crops, and the upscaled crops; the same on every process. Collective.

        The network's buffers are replaced by those of rank 0: without SyncBatchNorm each process has its own BatchNorm
        statistics, and rank 0's are the ones that get saved.
        """
        for buffer in network.buffers():
            broadcast(buffer)
        local = range(self._group.rank, len(self.crops), self._group.size)
        results = sorted(self._group.gather([(i, super_resolve(network, self.crops[i].lr)) for i in local]), key=_index)
        images = [sr for _, sr in results]
        qualities = [quality(sr, c.hr, self._scale) for sr, c in zip(images, self.crops, strict=True)]
        return _mean(qualities), images


def _index(result: tuple[int, Pixels]) -> int:
    return result[0]


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
