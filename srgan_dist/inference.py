"""A generator on whole pictures: uint8 in, uint8 out."""

import numpy as np
import torch
from torch import Tensor, nn

from srgan_dist.resize import Pixels


@torch.inference_mode()
def super_resolve(generator: nn.Module, lr: Pixels) -> Pixels:
    """(h, w, 3) uint8 RGB at the generator's scale, (scale*h, scale*w, 3) uint8, clamped and rounded.

    The generator must be in eval mode (SRGAN Sec. 3.2: BatchNorm off the batch at test time); it runs on
    its own device, channels_last.
    """
    device = next(generator.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(lr)).to(device).permute(2, 0, 1)[None].float() / 255
    return to_uint8(generator(batch))[0]


def to_uint8(images: Tensor) -> Pixels:
    """(B, 3, H, W) in [0, 1] as (B, H, W, 3) uint8, clamped and rounded."""
    return (images.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
