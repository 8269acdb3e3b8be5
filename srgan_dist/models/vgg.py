"""Features of VGG19 and VGG16 for the content loss, with weights trained on ImageNet."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

from srgan_dist.models.weight_files import read_model_file
from srgan_dist.utils.first_download import compare_with_first

VGGNetwork = Literal["vgg19", "vgg16"]
VGGLayer = Literal[
    "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4",
    "conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1", "conv5_2", "conv5_3", "conv5_4",
    "relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4",
    "relu4_1", "relu4_2", "relu4_3", "relu4_4", "relu5_1", "relu5_2", "relu5_3", "relu5_4",
    "pool1", "pool2", "pool3", "pool4", "pool5",
]  # fmt: skip
"""conv layers are taken before the activation (ESRGAN), relu layers after it. In the SRGAN paper's notation, relu2_2 is
phi_2,2 (VGG22) and relu5_4 is phi_5,4 (VGG54)."""

_CONVOLUTIONS: dict[VGGNetwork, tuple[int, ...]] = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
"""Number of convolutions in each of the five blocks. Paper: Simonyan and Zisserman 2015, Table 1, columns E and D."""
_CHANNELS = (64, 128, 256, 512, 512)


def _layer_index(network: VGGNetwork) -> dict[str, int]:
    names: list[str] = []
    for block, count in enumerate(_CONVOLUTIONS[network], start=1):
        names += [f"{kind}{block}_{n}" for n in range(1, count + 1) for kind in ("conv", "relu")] + [f"pool{block}"]
    return {name: index for index, name in enumerate(names)}


LAYER_INDEX: dict[VGGNetwork, dict[str, int]] = {network: _layer_index(network) for network in _CONVOLUTIONS}
"""Index of each layer in the `features` of torchvision's network of that name."""


class VGGFeatures(nn.Module):
    """Maps images (B, 3, h, w), RGB in [0, 1], to the feature maps of the requested layers, in that order.

    Images are normalized with ImageNet's mean and standard deviation first. The network is frozen and in eval mode.

    Args:
        features: torchvision's `vgg19().features` or `vgg16().features`, or its first layers.
        layers: The layers whose feature maps are returned.
        network: Which of the two networks it is.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, layers: Sequence[VGGLayer], network: VGGNetwork = "vgg19") -> None:
        super().__init__()
        self._indices = [LAYER_INDEX[network][layer] for layer in layers]
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


def check_layers(network: VGGNetwork, layers: Sequence[str]) -> None:
    """Raise ValueError if there are no layers, or the network has no layer of such a name."""
    if not layers:
        raise ValueError("loss.content.layers is empty; name at least one layer, for example: relu5_4 1.0")
    for layer in layers:
        if layer not in LAYER_INDEX[network]:
            last = [name for name in LAYER_INDEX[network] if name.startswith(layer[:5])][-1]
            raise ValueError(
                f"loss.content.layers: {network.upper()} has no layer {layer}; the last one of that block is {last}: "
                f"--loss.content.layers {last} 1.0"
            )


def load_vgg(network: VGGNetwork, layers: Sequence[VGGLayer], weights: Path | None = None) -> VGGFeatures:
    """Return VGG19 or VGG16 up to the deepest of `layers`, with ImageNet weights in float32.

    Args:
        network: Which of the two networks.
        layers: The layers whose feature maps the network returns.
        weights: A `.pth` or `.safetensors` file of the network's weights in any floating-point type: torchvision's
            complete network or its `features` alone, also inside a wrapper such as `{"state_dict": ...}`. Without it,
            they come from torch's cache or are downloaded.

    Raises:
        ValueError: If the network lacks one of the layers, the weights cannot be read or downloaded, or the file does
            not contain finite weights of this network.
    """
    check_layers(network, layers)
    deepest = max(LAYER_INDEX[network][layer] for layer in layers)
    with torch.device("meta"):
        features = _build(network)[: deepest + 1]
    if weights is not None and not weights.is_file():
        raise ValueError(f"loss.content.weights={weights}: no such file")
    state = _by_index(network, read_model_file(weights).weights if weights else _download(network))
    name = f"loss.content.weights={weights}" if weights else "the downloaded file"
    _check(state, features, network, name)
    features.load_state_dict({k: state[k].float() for k in features.state_dict()}, assign=True)
    return VGGFeatures(features, layers, network)


def untrained_vgg(network: VGGNetwork, layers: Sequence[VGGLayer]) -> VGGFeatures:
    """Return VGG19 or VGG16 without weights, for counting its operations on the meta device."""
    return VGGFeatures(_build(network), layers, network)


def _build(network: VGGNetwork) -> nn.Sequential:
    """Return torchvision's `features` without importing torchvision, which takes seconds."""
    layers: list[nn.Module] = []
    width = 3
    for count, channels in zip(_CONVOLUTIONS[network], _CHANNELS, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU(inplace=True)]
            width = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _by_index(network: VGGNetwork, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the convolutions' parameters under the keys of torchvision's `features`: `0.weight`, `0.bias`, ...

    Names may have any prefix (`features.0.weight`), or be those of the paper's layers (`conv1_1.weight`).
    """
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if m := re.search(r"(?:^|\.)(conv\d_\d)\.(weight|bias)$", key):
            found[f"{LAYER_INDEX[network].get(m[1], m[1])}.{m[2]}"] = value
        elif (m := re.search(r"(?:^|\.)(\d+)\.(\w+)$", key)) and "classifier" not in key:
            found[f"{m[1]}.{m[2]}"] = value
    return found


def _check(state: Mapping[str, Tensor], features: nn.Module, network: VGGNetwork, name: str) -> None:
    """Raise ValueError if the state lacks a parameter of `features`, or is another network's."""
    other: VGGNetwork = "vgg16" if network == "vgg19" else "vgg19"
    if _is_complete(state, other) and not _is_complete(state, network):
        raise ValueError(f"{name} contains {other.upper()}, not {network.upper()}; set --loss.content.network {other}")
    if any(key.endswith("running_mean") for key in state):
        raise ValueError(f"{name} contains a network with BatchNorm; only {network.upper()} without BatchNorm is known")
    for key, expected in features.state_dict().items():
        if key not in state:
            raise ValueError(f"{name} does not contain {network.upper()}'s weights: features.{key} is missing")
        if state[key].shape != expected.shape:
            shapes = f"{tuple(state[key].shape)}, expected {tuple(expected.shape)}"
            raise ValueError(f"{name} does not contain {network.upper()}'s weights: features.{key} has shape {shapes}")
        if not state[key].isfinite().all():
            raise ValueError(f"{name}: features.{key} contains NaN or infinity; obtain the file again")


def _is_complete(state: Mapping[str, Tensor], network: VGGNetwork) -> bool:
    return all(f"{i}.weight" in state for name, i in LAYER_INDEX[network].items() if name.startswith("conv"))


def _download(network: VGGNetwork) -> dict[str, Tensor]:
    from torchvision.models import VGG16_Weights, VGG19_Weights

    weights = {"vgg19": VGG19_Weights, "vgg16": VGG16_Weights}[network].IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    try:
        state = dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        other = "vgg16" if network == "vgg19" else "vgg19"
        raise ValueError(
            f"{network.upper()}'s ImageNet weights could not be downloaded ({error}). Either download {weights.url} on "
            f"a machine with network access and copy it to {file}, or pass a file of them with --loss.content.weights "
            f"FILE; or use {other.upper()} with --loss.content.network {other} and the same flag, if you have its "
            "weights; or train without VGG: --loss.content.type none uses the pixel loss as content. The presets "
            "srresnet-x4, srgan-mse-x4 and quickstart do not need VGG."
        ) from error
    if file.exists():  # torchvision checks the hash in the file's name, but only while downloading
        compare_with_first(weights.url, file, prefix=file.stem.rpartition("-")[2])
    return state
