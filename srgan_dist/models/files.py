"""Generators as files, and back from wherever there is one: our runs, checkpoints and exported files, published ones.

An exported file is safetensors with everything in its header that is needed to build the network again.
"""

import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from srgan_dist.models import GeneratorConfig, architecture, restore
from srgan_dist.models.spandrel import ForeignNetwork
from srgan_dist.models.state_dicts import describe, identify, load_compatible_state_dict, renamed, unwrapped
from srgan_dist.runs import checkpoint
from srgan_dist.runs.opening import is_run, open_run
from srgan_dist.runs.run_dir import CONFIG
from srgan_dist.utils.files import output_errors, write_bytes
from srgan_dist.utils.serialization import from_dict, to_dict

log = logging.getLogger("srgan_dist")

HEADER = "srgan_dist"
"""Where our own notes stand in a safetensors header."""
UNKNOWN = "unknown"
"""The degradation of a model that does not say what it was trained on."""


class Generator(NamedTuple):
    """A network that was read from a file, in eval mode on the CPU."""

    network: nn.Module
    label: str
    scale: int
    degradation: str
    """The kernel that made the LR images it was trained on."""
    config: GeneratorConfig | None = None
    """None for architectures that only spandrel knows."""
    notes: dict[str, Any] = {}  # noqa: RUF012
    """All that the file's header says: metrics, data, license."""


class ModelFile(NamedTuple):
    """The content of one model file, read once."""

    weights: dict[str, Tensor]
    """Parameters by name, without wrappers and their prefixes."""
    notes: dict[str, Any] | None
    """What this program wrote into the header; None for other programs' files."""


def load_generator(source: Path, at: str | None = None) -> Generator:
    """Load a generator from wherever there is one, in eval mode, on the CPU, with frozen weights.

    Args:
        source: an exported file, a run directory (its final model, or its last checkpoint while it trains), a
            checkpoint directory, or a `.pth`, `.pt`, `.ckpt` or `.safetensors` file of another program.
        at: "last", "best" or a step: that checkpoint of a run directory instead.

    Raises:
        ValueError: there is no such thing, or it is not a generator of three colors.
    """
    path = find_model(source, at)
    generator = _from_checkpoint(path) if path.is_dir() else _from_file(path, read_model_file(path))
    generator.network.eval().requires_grad_(False)
    return generator


def find_model(source: Path, at: str | None = None) -> Path:
    """Return the model file or checkpoint directory that a source stands for; see `load_generator`."""
    source = checkpoint.resolve(source)
    if at is not None and not (source.is_dir() and is_run(source)):
        raise ValueError(f"--at {at} chooses a checkpoint of a run directory, and {source} is none")
    if source.is_file() or (source / checkpoint.COMPLETE).is_file():
        return source.resolve() if source.is_dir() else source
    if not source.is_dir():
        raise ValueError(f"{source}: there is no such model file or run directory")
    if not is_run(source):
        raise ValueError(f"{source}: not a run directory or checkpoint, or nothing was saved in it yet")
    chosen = open_run(source, at)
    log.info("%s opens as %s", source, chosen.about)
    return chosen.path.resolve() if chosen.path.is_dir() else chosen.path


def _from_file(file: Path, content: ModelFile) -> Generator:
    notes = content.notes
    if notes is None:
        return _from_elsewhere(file, content.weights)
    config: Any = from_dict(GeneratorConfig, notes["generator"])  # pyright: ignore[reportArgumentType]
    network = restore(config, notes["scale"], content.weights)
    return Generator(network, notes["label"], notes["scale"], notes["degradation"], config, notes)


def _from_checkpoint(folder: Path) -> Generator:
    run = folder.parent.parent
    config, scale = _network_of(run / CONFIG)
    state = checkpoint.load(folder)
    network = config.build(scale)
    network.load_state_dict(state["networks"]["ema"]["network"])
    return Generator(network, f"{run.name} step {state['step']}", scale, state.get("degradation", UNKNOWN), config)


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


def _from_elsewhere(file: Path, weights: dict[str, Tensor]) -> Generator:
    """Recognize a network of ours by its parameters' names and shapes, or leave the file to spandrel."""
    state = renamed(weights)
    found = identify(state)
    if found is None:
        return _from_spandrel(file, state)
    network = found.config.build(found.scale)
    load_compatible_state_dict(network, state, str(file))
    return Generator(network, file.stem, found.scale, UNKNOWN, found.config)


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
        raise ValueError(f"{file}: {model.architecture.name} does not turn one RGB image into another")
    return Generator(ForeignNetwork(model, model.scale, str(file)), file.stem, model.scale, UNKNOWN)


def save_generator(file: Path, network: nn.Module, config: GeneratorConfig, notes: dict[str, Any]) -> None:
    """Writes the weights (contiguous, without wrapper prefixes) with config and notes; whole or not at all.

    Args:
        notes: `label`, `scale` and `degradation` (see `Generator`), and what else people may want to know.
    """
    about = {"generator": to_dict(architecture(config), GeneratorConfig)} | notes
    header = {HEADER: json.dumps(about), "format": "pt"}
    weights = {name: t.detach().contiguous().cpu() for name, t in network.state_dict().items()}
    content = _ordered(save(weights, metadata=header))  # save_file would make it readable to its owner only
    with output_errors(file):
        write_bytes(content, file)


def _ordered(content: bytes) -> bytes:
    """A safetensors file with its notes in order, which the library writes in another one each time: the same network
    is the same file."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def load_weights(network: nn.Module, source: Path) -> None:
    """Load a generator's weights into a network, from any source of `load_generator`, under any published names.

    Raises:
        ValueError: there is nothing, it holds no weights, or another network's (see `load_compatible_state_dict`).
    """
    load_compatible_state_dict(network, read_weights(source), str(source))


def read_weights(source: Path) -> dict[str, Tensor]:
    """Read a generator's parameters from any source of `load_generator`; of a checkpoint those of the moving average.

    Raises:
        ValueError: there is nothing, or it holds no weights.
    """
    path = find_model(source)
    if path.is_dir():
        return unwrapped(checkpoint.load(path)["networks"]["ema"]["network"])
    return read_model_file(path).weights


def read_model_file(file: Path) -> ModelFile:
    """Read a safetensors file or a file of torch's; code in it is not run.

    Raises:
        ValueError: it is neither, or holds no weights by name.
    """
    if file.suffix != ".safetensors":
        return ModelFile(unwrapped(_read_torch(file)), None)
    try:
        with safe_open(file, "pt") as content:
            header = (content.metadata() or {}).get(HEADER)
            weights = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a dictionary)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({error})") from None
    return ModelFile(unwrapped(weights), json.loads(header) if header else None)


def _read_torch(file: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickles, which are then refused anyway
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a file that is not one of its own
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it holds code, {code[1]}, which is not run" if code else "PyTorch cannot read it"
        raise ValueError(f"{file}: not a file of weights ({reason})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: holds a {type(content).__name__}, not weights by name")
    return content  # pyright: ignore[reportUnknownVariableType]
