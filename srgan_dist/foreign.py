"""Any generator that there is a file of: ours, a run's checkpoint, or one that spandrel knows. Spandrel's only home."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from srgan_dist import checkpoint
from srgan_dist.config import read_config
from srgan_dist.data.format import read_manifest
from srgan_dist.export import Generator, load_generator

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

UNKNOWN = "unknown"
"""The degradation of a model that does not say what it was trained on."""


def open_generator(source: Path) -> Generator:
    """The generator in `source`, in eval mode on the CPU.

    Args:
        source: an exported file, a run directory (its final model, or its best checkpoint while it trains), a
            checkpoint directory, or a `.pth`, `.pt`, `.ckpt` or `.safetensors` file of another program.

    Raises:
        ValueError: there is no such thing, or it is not a generator of three colours.
    """
    if source.is_dir():
        return _from_directory(source)
    if not source.is_file():
        raise ValueError(f"{source}: there is no such model file or run directory")
    return load_generator(source) if _is_ours(source) else _from_spandrel(source)


def _from_directory(folder: Path) -> Generator:
    if (folder / "COMPLETE.json").is_file():
        return _from_checkpoint(folder.resolve())
    if any((folder / "models").glob("*.safetensors")):
        return load_generator(folder)
    for name in ("best", "last"):
        if (folder / "checkpoints" / name).is_dir():
            return _from_checkpoint((folder / "checkpoints" / name).resolve())
    raise ValueError(f"{folder}: not a run directory or checkpoint, or nothing was saved in it yet")


def _from_checkpoint(folder: Path) -> Generator:
    run = folder.parent.parent
    config, state = read_config(run / "config.json"), checkpoint.load(folder)
    network = config.generator.build(config.scale)
    network.load_state_dict(state["players"]["ema"]["network"])
    shards = [Path(s) for s in config.data.shards]
    made = read_manifest(shards[0]).degradation if shards and shards[0].is_dir() else UNKNOWN
    return Generator(network.eval().requires_grad_(False), f"{run.name} step {state['step']}", config.scale, made)


def _is_ours(file: Path) -> bool:
    if file.suffix != ".safetensors":
        return False
    try:
        with safe_open(file, "pt") as content:
            return "srgan_dist" in (content.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({error})") from None


def _from_spandrel(file: Path) -> Generator:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError, canonicalize_state_dict
    except ImportError:
        raise ValueError(f"{file}: not one of ours; to open it, install 'srgan-dist[spandrel]'") from None
    try:
        model = ModelLoader().load_from_state_dict(canonicalize_state_dict(_weights(file)))
    except UnsupportedModelError:
        raise ValueError(f"{file}: its weights are of no architecture that spandrel knows") from None
    except (RuntimeError, KeyError) as error:  # nearly one: a tensor is missing or of another shape
        raise ValueError(f"{file}: its weights do not fit the architecture they look like ({error})") from error
    if not isinstance(model, ImageModelDescriptor) or (model.input_channels, model.output_channels) != (3, 3):
        raise ValueError(f"{file}: {model.architecture.name} does not turn one RGB picture into another")
    return Generator(Foreign(model).eval().requires_grad_(False), file.stem, model.scale, UNKNOWN)


def _weights(file: Path) -> dict[str, Any]:
    if file.suffix == ".safetensors":
        return load_file(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes zip or the unpickler raise
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file}: not a file of weights, or one with code in it ({reason})") from None


class Foreign(nn.Module):
    """A network of another program: lr (B, 3, h, w) to sr (B, 3, scale*h, scale*w), RGB in [0, 1]."""

    def __init__(self, model: "ImageModelDescriptor[nn.Module]") -> None:
        super().__init__()
        self.network = model.model
        self._descriptor = model

    def forward(self, lr: Tensor) -> Tensor:
        """The descriptor pads the picture to what the architecture needs, and cuts the result."""
        return self._descriptor(lr)
