"""VGG19 features for the content loss, with ImageNet's weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

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
"""Where each layer's output stands in torchvision's `vgg19().features`: conv before the activation (ESRGAN), relu
after it. In the SRGAN paper's words relu2_2 is phi_2,2 (VGG22) and relu5_4 phi_5,4 (VGG54)."""


class VGG19Features(nn.Module):
    """Maps images (B, 3, h, w), RGB in [0, 1], to the feature maps of some layers, in the order asked for.

    ImageNet's mean and standard deviation are applied inside. The network is frozen and in eval mode.

    Args:
        features: torchvision's `vgg19().features`, or its beginning.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, layers: Sequence[VGGLayer]) -> None:
        super().__init__()
        self._wanted = [LAYER_INDEX[layer] for layer in layers]
        self.features = nn.Sequential(*list(features.children())[: max(self._wanted) + 1])
        for number, module in enumerate(self.features.children()):
            if isinstance(module, nn.ReLU):
                module.inplace = number - 1 not in self._wanted  # unless the map before it is wanted too
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def keep_in(self, dtype: torch.dtype) -> None:
        """Convert the weights to the type that autocast computes in: it would convert frozen ones at every call."""
        self.features.to(dtype)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = (images - self.mean) / self.std
        maps: dict[int, Tensor] = {}
        for number, module in enumerate(self.features.children()):
            x = module(x)
            if number in self._wanted:
                maps[number] = x
        return tuple(maps[number] for number in self._wanted)


def load_vgg19(layers: Sequence[VGGLayer], weights: Path | None = None) -> VGG19Features:
    """VGG19 up to the deepest of `layers` with ImageNet's weights: from `weights`, else torch's cache, else downloaded.

    Raises:
        ValueError: the weights can be found nowhere, or the file is not VGG19's.
    """
    from torchvision.models import vgg19  # imported here: it takes seconds, and only VGG presets need it

    with torch.device("meta"):
        features = vgg19().features
    state = _read(weights) if weights else _download()
    wanted = features.state_dict().keys()
    # torchvision's file names the layers "features.0.weight"; a file of the features alone, "0.weight".
    own = {k.removeprefix("features."): v for k, v in state.items()}
    missing = sorted(k for k in wanted if k not in own)
    if missing:
        raise ValueError(f"{weights or 'the downloaded file'} does not hold VGG19's weights: {missing[0]} is missing")
    features.load_state_dict({k: own[k] for k in wanted}, assign=True)
    return VGG19Features(features, layers)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"loss.content.weights={file}: there is no such file") from None
    except Exception as error:  # torch raises half a dozen types for a file that is not one of its own
        raise ValueError(f"loss.content.weights={file} is not a torch weights file ({error})") from error


def _download() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    weights = VGG19_Weights.IMAGENET1K_V1
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
        raise ValueError(
            f"VGG19's ImageNet weights could not be downloaded ({error}). Fetch {weights.url} on a machine with "
            f"network, then either put it at {cache} or name it with --loss.content.weights FILE. The presets "
            "srresnet-x4, srgan-mse-x4 and quickstart need no VGG."
        ) from error
