"""Validation during training, always on the same held-out crops."""

import logging
from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn

from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.accelerator import AcceleratorGroup
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.metrics import Scores, quality
from srgan_dist.evaluation.naturalness import color_difference, implausible, naturalness, original_naturalness
from srgan_dist.evaluation.niqe import BLOCK, MIN_BLOCKS
from srgan_dist.evaluation.perceptual import open_perceptual
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import interpolate
from srgan_dist.inference.fusion import super_resolve
from srgan_dist.training.config import BestBy, ValidationConfig

log = logging.getLogger("srgan_dist")

HIGHER_IS_BETTER = frozenset({"psnr_y", "ssim_y", "topiq"})


class Crop(NamedTuple):
    """The center crop of a held-out image, uint8 RGB (h, w, 3)."""

    name: str
    lr: Pixels
    hr: Pixels


class Validation:
    """Evaluates a generator on the center crops of the first held-out images, distributed over the processes.

    Raises:
        ValueError: a metric is not installed, or its weights cannot be downloaded.
    """

    def __init__(self, config: ValidationConfig, shards: ShardSet, accelerator: Accelerator) -> None:
        self._group, self._metrics = AcceleratorGroup(accelerator), config.computed()
        self._scale = shards.scale
        names: tuple[PerceptualMetric, ...] = get_args(PerceptualMetric)
        learned: tuple[PerceptualMetric, ...] = tuple(name for name in names if name in self._metrics)
        self._perceptual = open_perceptual(learned, str(accelerator.device), self._group)
        self.crops = [_center(shards, i, config.side) for i in range(min(config.images, len(shards)))]
        self.bicubic = _means([self._scores(interpolate(c.lr, self._scale, "bicubic"), c.hr) for c in self.crops])
        """Mean scores of bicubic interpolation on the same crops."""
        originals = [original_naturalness(c.hr, self._scale, MIN_BLOCKS) for c in self.crops]
        self.original = _means(originals) if "niqe" in self._metrics else {}
        """Mean scores of HR itself that need no reference."""
        self.rates_naturalness = "niqe" in self.original
        if "niqe" in self._metrics and not self.rates_naturalness and accelerator.is_main_process:
            side = 3 * BLOCK + 2 * self._scale
            log.info(
                "the validation crops are too small for NIQE, which needs %d blocks of %dx%d pixels: use "
                "validation.side=%d and images of that size; until then NIQE selects no checkpoint",
                MIN_BLOCKS, BLOCK, BLOCK, max(side, config.side),
            )  # fmt: skip

    def __call__(self, network: nn.Module) -> tuple[Scores, list[Pixels]]:
        """Return the mean scores over the crops, and the upscaled crops; the same on every process. Collective.

        The network's buffers are replaced by those of rank 0: without SyncBatchNorm each process has its own BatchNorm
        statistics, and rank 0's are the ones that get saved.
        """
        for buffer in network.buffers():
            broadcast(buffer)
        found: list[tuple[int, Pixels, Scores]] = []
        for i in range(self._group.rank, len(self.crops), self._group.size):
            sr = super_resolve(network, self.crops[i].lr)
            found.append((i, sr, self._scores(sr, self.crops[i].hr)))
        results = sorted(self._group.gather(found), key=_index)
        return _means([scores for _, _, scores in results]), [sr for _, sr, _ in results]

    def _scores(self, sr: Pixels, hr: Pixels) -> Scores:
        similarity = quality(sr, hr, self._scale)
        found = {"psnr_y": similarity.psnr_y, "ssim_y": similarity.ssim_y}
        if "niqe" in self._metrics:
            found |= naturalness(sr, hr, self._scale, MIN_BLOCKS) | {"color_drift": color_difference(sr, hr)}
        return found | (self._perceptual(sr, hr) if self._perceptual else {})

    def warnings(self, scores: Scores) -> list[tuple[str, str]]:
        """Return what makes these mean scores implausible; see `naturalness.implausible`."""
        return implausible(scores, self.original)

    def score(self, scores: Scores, best_by: BestBy) -> float:
        """Return the score that selects the best checkpoint, higher is better; -inf for a result that is implausible.

        Only perceptual metrics can be cheated by artifacts, so PSNR and SSIM are not restricted.
        """
        if best_by in ("psnr_y", "ssim_y"):
            return scores[best_by]
        if best_by not in scores or self.warnings(scores):
            return float("-inf")
        return scores[best_by] if best_by in HIGHER_IS_BETTER else -scores[best_by]


def _index(result: tuple[int, Pixels, Scores]) -> int:
    return result[0]


def _means(scores: Sequence[Scores]) -> Scores:
    """Return the mean of each score over the crops that have it."""
    names = dict.fromkeys(name for found in scores for name in found)
    return {name: float(np.mean([found[name] for found in scores if name in found])) for name in names}


def _center(shards: ShardSet, image: int, side: int) -> Crop:
    s, lr, hr = shards.scale, shards.lr(image), shards.hr(image)
    h, w = (min(side // s, n) for n in lr.shape[:2])
    y, x = (lr.shape[0] - h) // 2, (lr.shape[1] - w) // 2
    return Crop(
        shards.keys[image], lr[y : y + h, x : x + w].copy(), hr[s * y : s * (y + h), s * x : s * (x + w)].copy()
    )
