"""Running a generator on uint8 images, and fusing its layers for faster inference with the same results."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srgan_dist.imaging.images import Pixels
from srgan_dist.models.srresnet import SRResNet


@torch.inference_mode()
def super_resolve(generator: nn.Module, lr: Pixels) -> Pixels:
    """Upscale an image in one forward pass, without tiles; `upscaler.Upscaler` bounds the memory for large images.

    Args:
        generator: A network in eval mode, so that BatchNorm uses its running statistics. It runs on its own device.
        lr: RGB uint8, (h, w, 3).

    Returns:
        RGB uint8, (scale*h, scale*w, 3), clamped and rounded.
    """
    device = next(generator.parameters()).device
    batch = torch.from_numpy(np.array(lr)).to(device).permute(2, 0, 1)[None].float() / 255
    return to_uint8(generator(batch))[0]


def to_uint8(images: Tensor) -> Pixels:
    """Convert (B, 3, H, W) in [0, 1] to uint8 (B, H, W, 3) on the CPU, clamped and rounded."""
    return (images.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def fused(network: nn.Module) -> nn.Module:
    """Return a frozen copy in eval mode that needs less compute and memory; outputs are equal up to rounding.

    BatchNorm layers are folded into the preceding convolutions, PReLU activations with one parameter become in-place
    LeakyReLU, and SRResNet's last convolution moves before its last PixelShuffle.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for sequence in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
        for i in range(len(sequence) - 1):
            conv, norm = sequence[i], sequence[i + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[i], sequence[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
        first = next((i for i, m in enumerate(sequence) if isinstance(m, nn.Conv2d)), len(sequence))
        for i in range(
            first + 1, len(sequence)
        ):  # in place is safe after a convolution: no other layer reads its output
            activation = sequence[i]
            if isinstance(activation, nn.PReLU) and activation.num_parameters == 1:
                sequence[i] = nn.LeakyReLU(float(activation.weight), inplace=True)
    if isinstance(network, SRResNet):
        network.shuffle_last()
    return network


class SelfEnsemble(nn.Module):
    """Averages the outputs for eight orientations of the image (Timofte et al. 2016), at eight times the cost."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Tensor) -> Tensor:
        """Map lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w) in float32."""
        return torch.stack([self._upscale(lr, k, mirror) for k in range(4) for mirror in (False, True)]).mean(0)

    def _upscale(self, lr: Tensor, quarter_turns: int, mirror: bool) -> Tensor:
        """Mirror and rotate the input, upscale it, and undo both on the output."""
        rotated = torch.rot90(lr.flip(3) if mirror else lr, quarter_turns, (2, 3))
        sr = torch.rot90(self.network(rotated).float(), -quarter_turns, (2, 3))
        return sr.flip(3) if mirror else sr
