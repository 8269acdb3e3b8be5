"""Any generator that there is a file of: ours, a run's checkpoint, a published one, or one that spandrel knows."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from srgan_dist import checkpoint
from srgan_dist.config import from_dict
from srgan_dist.export import Generator, load_generator
from srgan_dist.models import GeneratorConfig
from srgan_dist.models.layouts import describe, fit, identify, renamed
from srgan_dist.models.spandrel import ForeignNetwork
from srgan_dist.weights import read_notes, read_weights

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
    return _from_elsewhere(source) if read_notes(source) is None else load_generator(source)


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
    config, scale = _network_of(run / "config.json")
    state = checkpoint.load(folder)
    network = config.build(scale)
    network.load_state_dict(state["players"]["ema"]["network"])
    made, label = state.get("degradation", UNKNOWN), f"{run.name} step {state['step']}"
    return Generator(network.eval().requires_grad_(False), label, scale, made, config)


def _network_of(file: Path) -> tuple[GeneratorConfig, int]:
    """The generator and the scale that a run's `config.json` names."""
    try:
        content = json.loads(file.read_text())
        config: Any = from_dict(GeneratorConfig, content["generator"])  # pyright: ignore[reportArgumentType]
        return config, int(content["scale"])
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}; a checkpoint is opened beside its run's configuration") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: does not name a generator and its scale ({error})") from error


def _from_elsewhere(file: Path) -> Generator:
    """Another program's file: a network of ours by its parameters' names and shapes, else with spandrel."""
    state = renamed(read_weights(file))
    found = identify(state)
    if found is None:
        return _from_spandrel(file, state)
    network = found.config.build(found.scale)
    fit(network, state, str(file))
    return Generator(network.eval().requires_grad_(False), file.stem, found.scale, UNKNOWN, found.config)


def _from_spandrel(file: Path, state: dict[str, Tensor]) -> Generator:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError:
        raise ValueError(
            f"{file}: holds {describe(state)}, not one of ours; to open it, install 'srgan-dist[spandrel]'"
        ) from None
    try:
        model = ModelLoader().load_from_state_dict(dict(state))
    except UnsupportedModelError:
        raise ValueError(f"{file}: holds {describe(state)}, of no architecture that spandrel knows") from None
    except (RuntimeError, KeyError) as error:  # nearly one: a tensor is missing or of another shape
        raise ValueError(f"{file}: its weights do not fit the architecture they look like ({error})") from error
    if not isinstance(model, ImageModelDescriptor) or (model.input_channels, model.output_channels) != (3, 3):
        raise ValueError(f"{file}: {model.architecture.name} does not turn one RGB picture into another")
    network = ForeignNetwork(model, model.scale, str(file))
    return Generator(network.eval().requires_grad_(False), file.stem, model.scale, UNKNOWN)
