"""VGG19 features for the content loss, with weights trained on ImageNet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

from srgan_dist.utils.first_download import compare_with_first

VGGLayer = Literal["conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4", "relu2_2", "relu5_4"]

LAYER_INDEX: dict[VGGLayer, int] = {
    "conv1_2": 2,
    "conv2_2": 7,
    "relu2_2": 8,
    "conv3_4": 16,
    "conv4_4": 25,
    "conv5_4": 34,
    "relu5_4": 35,
}
"""Index of each layer in torchvision's `vgg19().features`. conv layers are taken before the activation (ESRGAN), relu
layers after it. In the SRGAN paper's notation, relu2_2 is phi_2,2 (VGG22) and relu5_4 is phi_5,4 (VGG54)."""


class VGG19Features(nn.Module):
    """Maps images (B, 3, h, w), RGB in [0, 1], to the feature maps of the requested layers, in that order.

    Images are normalized with ImageNet's mean and standard deviation first. The network is frozen and in eval mode.

    Args:
        features: torchvision's `vgg19().features`, or its first layers.
        layers: The layers whose feature maps are returned.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, layers: Sequence[VGGLayer]) -> None:
        super().__init__()
        self._indices = [LAYER_INDEX[layer] for layer in layers]
        self.features = nn.Sequential(*list(features.children())[: max(self._indices) + 1])
        for index, module in enumerate(self.features.children()):
            if isinstance(module, nn.ReLU):
                module.inplace = index - 1 not in self._indices  # must not overwrite a feature map that is returned
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def keep_in(self, dtype: torch.dtype) -> None:
        """Convert the weights to autocast's dtype, because autocast converts frozen weights again in every call."""
        self.features.to(dtype)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = (images - self.mean) / self.std
        maps: dict[int, Tensor] = {}
        for index, module in enumerate(self.features.children()):
            x = module(x)
            if index in self._indices:
                maps[index] = x
        return tuple(maps[index] for index in self._indices)


def load_vgg19(layers: Sequence[VGGLayer], weights: Path | None = None) -> VGG19Features:
    """Return VGG19 up to the deepest of `layers`, with ImageNet weights.

    Args:
        layers: The layers whose feature maps the network returns.
        weights: A torch file of VGG19's weights. Without it, they come from torch's cache or are downloaded.

    Raises:
        ValueError: If the weights cannot be read or downloaded, or the file is not VGG19's.
    """
    from torchvision.models import vgg19  # the import takes seconds, and only presets with a VGG loss need it

    with torch.device("meta"):
        features = vgg19().features
    state = _read(weights) if weights else _download()
    expected = features.state_dict().keys()
    # Keys start with "features." in torchvision's file, but not in a file of the features alone.
    state = {k.removeprefix("features."): v for k, v in state.items()}
    missing = sorted(k for k in expected if k not in state)
    if missing:
        raise ValueError(
            f"{weights or 'the downloaded file'} does not contain VGG19's weights: {missing[0]} is missing"
        )
    features.load_state_dict({k: state[k] for k in expected}, assign=True)
    return VGG19Features(features, layers)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"loss.content.weights={file}: no such file") from None
    except Exception as error:  # torch raises many types for a file in another format
        raise ValueError(f"loss.content.weights={file} is not a torch weights file ({error})") from error


def _download() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    weights = VGG19_Weights.IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    try:
        state = dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"VGG19's ImageNet weights could not be downloaded ({error}). Download {weights.url} on a machine with "
            f"network access, then copy it to {file} or pass it with --loss.content.weights FILE. The presets "
            "srresnet-x4, srgan-mse-x4 and quickstart do not need VGG19."
        ) from error
    if file.exists():  # torchvision checks the hash in the file's name, but only while downloading
        compare_with_first(weights.url, file, prefix=file.stem.rpartition("-")[2])
    return state
