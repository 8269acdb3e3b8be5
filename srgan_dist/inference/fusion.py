"""A generator on images: uint8 in, uint8 out, and what makes it faster without changing what it computes."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srgan_dist.imaging.images import Pixels
from srgan_dist.models.srresnet import SRResNet


@torch.inference_mode()
def super_resolve(generator: nn.Module, lr: Pixels) -> Pixels:
    """(h, w, 3) uint8 RGB at the generator's scale, (scale*h, scale*w, 3) uint8, clamped and rounded.

    The whole image at once, by the network as it is; `upscaler.Upscaler` takes any size. The generator must be
    in eval mode (SRGAN Sec. 3.2: BatchNorm off the batch at test time); it runs on its own device.
    """
    device = next(generator.parameters()).device
    batch = torch.from_numpy(np.array(lr)).to(device).permute(2, 0, 1)[None].float() / 255
    return to_uint8(generator(batch))[0]


def to_uint8(images: Tensor) -> Pixels:
    """(B, 3, H, W) in [0, 1] as (B, H, W, 3) uint8, clamped and rounded."""
    return (images.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def fused(network: nn.Module) -> nn.Module:
    """A copy in eval mode that computes the same, to rounding, with less work and memory.

    BatchNorms are folded into the convolutions before them, activations work in place, and SRResNet's last
    convolution stands before its last PixelShuffle.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for sequence in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
        for i in range(len(sequence) - 1):
            conv, norm = sequence[i], sequence[i + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[i], sequence[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
        first = next((i for i, m in enumerate(sequence) if isinstance(m, nn.Conv2d)), len(sequence))
        for i in range(first + 1, len(sequence)):  # what a convolution made is nobody else's
            activation = sequence[i]
            if isinstance(activation, nn.PReLU) and activation.num_parameters == 1:
                sequence[i] = nn.LeakyReLU(float(activation.weight), inplace=True)
    if isinstance(network, SRResNet):
        network.shuffle_last()
    return network


class SelfEnsemble(nn.Module):
    """The mean over the eight orientations of the image (Timofte et al. 2016): eight times the work."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Tensor) -> Tensor:
        """As the network's, in float32."""
        return torch.stack([self._oriented(lr, k, mirrored) for k in range(4) for mirrored in (False, True)]).mean(0)

    def _oriented(self, lr: Tensor, turns: int, mirrored: bool) -> Tensor:
        turned = torch.rot90(lr.flip(3) if mirrored else lr, turns, (2, 3))
        sr = torch.rot90(self.network(turned).float(), -turns, (2, 3))
        return sr.flip(3) if mirrored else sr
