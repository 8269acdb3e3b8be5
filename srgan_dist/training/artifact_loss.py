"""A loss on what the adversarial term draws wrongly: dots, worms and stripes that HR does not have."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 7
"""Side of the window in which the error's variance is measured, in HR pixels."""


class ArtifactLoss(nn.Module):
    """The L1 loss where the generator is worse than its moving average, weighted by how rough the error is there.

    Detail at the right place leaves a smooth error and artifacts a rough one; and artifacts change from step to step,
    so that the moving average of the weights draws fewer of them.

    Paper: Liang, Zeng and Zhang 2022, "Details or Artifacts", Sec. 3.2 and 3.3. The map is a weight and gets no
    gradient.

    Args:
        average: the moving average of the generator.
    """

    def __init__(self, average: nn.Module) -> None:
        super().__init__()
        self.average = average

    def forward(self, lr: Tensor, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss as a scalar of lr (B, 3, h, w), and sr and hr (B, 3, s*h, s*w), in [0, 1]."""
        with torch.no_grad():
            weight = artifact_map(sr, self.average(lr), hr)
        return (weight * (sr.float() - hr.float()).abs()).mean()


def artifact_map(sr: Tensor, averaged: Tensor, hr: Tensor) -> Tensor:
    """Return how strongly each pixel of `sr` looks like an artifact.

    Args:
        sr, averaged, hr: (B, 3, H, W) in [0, 1]: of the generator, of its moving average, and the original.

    Returns:
        (B, 1, H, W) float32, not negative: the variance of the error in a window, times the fifth root of its variance
        in the entire image; 0 where the error is no larger than that of `averaged`.
    """
    error, smooth = ((image.float() - hr.float()).abs().sum(dim=1, keepdim=True) for image in (sr, averaged))
    overall = error.var(dim=(1, 2, 3), keepdim=True) ** 0.2
    return torch.where(error > smooth, overall * _local_variance(error), 0.0)


def _local_variance(values: Tensor) -> Tensor:
    """Return the variance around each pixel of (B, 1, H, W), in a window that is reflected at the border."""
    padded = F.pad(values, (WINDOW // 2,) * 4, mode="reflect")
    mean, of_squares = F.avg_pool2d(padded, WINDOW, stride=1), F.avg_pool2d(padded**2, WINDOW, stride=1)
    return (of_squares - mean**2).clamp(min=0) * (WINDOW**2 / (WINDOW**2 - 1))
