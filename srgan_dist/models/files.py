"""Loading generators from runs, checkpoints, exported and published files, and saving them.

An exported file is a safetensors file whose header contains everything that is needed to build the network again.
"""

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from srgan_dist.models import GeneratorConfig, SpandrelConfig, architecture, restore
from srgan_dist.models.build_limit import check_storage, limited_build
from srgan_dist.models.partial_weights import load_matching
from srgan_dist.models.sources import find_model
from srgan_dist.models.spandrel import ForeignNetwork
from srgan_dist.models.state_dicts import (
    describe,
    first_few,
    foreign_kind,
    identify,
    load_compatible_state_dict,
    missing_names,
    of_generator,
    renamed,
    unwrapped,
)
from srgan_dist.models.weight_files import HEADER, LONGEST_HEADER, ModelFile, read_model_file
from srgan_dist.runs import checkpoint
from srgan_dist.runs.run_dir import CONFIG
from srgan_dist.utils.files import output_errors, write_bytes
from srgan_dist.utils.serialization import from_dict, to_dict
from srgan_dist.utils.untrusted import integer, parse_json, section, text

log = logging.getLogger("srgan_dist")

_MISSING = "missing; download the file again, or convert it again"
_LONGEST_REASON = 300
"""Characters of another library's message that are shown."""
_LARGEST_SCALE = 64
UNKNOWN = "unknown"
"""The degradation of a model whose file does not record what it was trained on."""


class Generator(NamedTuple):
    """A network that was read from a file, in eval mode on the CPU."""

    network: nn.Module
    """Maps lr (B, 3, h, w) to sr `(B, 3, scale*h, scale*w)`, RGB in [0, 1]."""
    label: str
    """Display name: the phase, the run and step, or the file's stem."""
    scale: int
    """Upscaling factor."""
    degradation: str
    """The kernel or degradation that made the LR images it was trained on, or `UNKNOWN`."""
    config: GeneratorConfig | None = None
    """None for architectures that only spandrel supports."""
    notes: dict[str, Any] = {}  # noqa: RUF012
    """The notes in the file's header, such as metrics, data and license."""


def load_generator(source: Path, at: str | None = None) -> Generator:
    """Load a generator in eval mode, on the CPU, with frozen weights.

    Args:
        source: An exported file, a run directory (its final model, or the last checkpoint of an unfinished run), a
            checkpoint directory, a `.pth`, `.pt`, `.ckpt` or `.safetensors` file of another program, or a name in
            `network_names`.
        at: The checkpoint to load from a run directory instead: "last", "best" or a step.

    Raises:
        ValueError: If there is no such file, directory or checkpoint, or it is not a generator of RGB images.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import srgan_dist
        >>> from srgan_dist.models import SRResNetConfig
        >>> from srgan_dist.models.files import save_generator
        >>> config = SRResNetConfig(blocks=1, channels=4)
        >>> notes = {"label": "tiny", "scale": 2, "degradation": "matlab-mirror"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_generator(Path(folder, "tiny.safetensors"), config.build(2), config, notes)
        ...     generator = srgan_dist.load_generator(Path(folder, "tiny.safetensors"))
        >>> generator.label, generator.scale, generator.network.training
        ('tiny', 2, False)
    """
    path = find_model(source, at)
    generator = _from_checkpoint(path) if path.is_dir() else _from_file(path, read_model_file(path))
    generator.network.eval().requires_grad_(False)
    return generator


def _from_file(file: Path, content: ModelFile) -> Generator:
    notes = content.notes
    if notes is None:
        return _from_weights(file, content.weights)
    config, scale = _config_of(notes, f"{file}: its header")
    try:
        label, degradation = text(notes, "label"), text(notes, "degradation")
    except ValueError as error:
        raise ValueError(f"{file}: its header is not valid ({error})") from None
    return Generator(_restore(config, scale, content.weights, str(file)), label, scale, degradation, config, notes)


def _config_of(content: dict[str, Any], where: str) -> tuple[GeneratorConfig, int]:
    """Return the generator and the scale that a file describes; `where` names it in errors."""
    try:
        config: Any = from_dict(GeneratorConfig, section(content, "generator"))  # pyright: ignore[reportArgumentType]
        return config, integer(content, "scale", 1, _LARGEST_SCALE)
    except ValueError as error:
        raise ValueError(f"{where} does not contain a generator and its scale ({error})") from error


def _restore(config: GeneratorConfig, scale: int, weights: dict[str, Tensor], name: str) -> nn.Module:
    """Build the described network and load its weights; it may not be larger than they are."""
    try:
        with limited_build(weights.values(), name, _foreign_factor(config)):
            return restore(config, scale, weights, name)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # torch, about sizes that make no sense
        raise ValueError(f"{name}: its network cannot be built ({_first_line(error)})") from error


def _foreign_factor(config: GeneratorConfig) -> int:
    return 4 if isinstance(config, SpandrelConfig) else 1


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200] or type(error).__name__


def _from_checkpoint(folder: Path) -> Generator:
    run = folder.parent.parent
    config, scale = _read_run_config(run / CONFIG)
    state = checkpoint.load(folder)
    weights = _averaged_weights(state, folder)
    with limited_build(weights.values(), str(folder), _foreign_factor(config)):
        network = config.build(scale)
    load_compatible_state_dict(network, weights, str(folder))
    degradation = state.get("degradation", UNKNOWN)
    return Generator(network, f"{run.name} step {state.get('step')}", scale, str(degradation), config)


def _averaged_weights(state: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    """Return the weights of the exponential moving average in a checkpoint."""
    try:
        weights = unwrapped(state["networks"]["ema"]["network"])
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"checkpoint {folder} does not contain a generator's weights") from None
    check_storage(weights, str(folder))
    return weights


def _read_run_config(file: Path) -> tuple[GeneratorConfig, int]:
    """Return the generator and the scale in a run's `config.json`."""
    try:
        return _config_of(parse_json(file.read_bytes(), LONGEST_HEADER), str(file))
    except OSError as error:
        raise ValueError(
            f"{file}: {error.strerror}; a checkpoint can only be opened with its run's configuration"
        ) from None
    except ValueError as error:
        raise ValueError(f"{file}: does not contain a generator and its scale ({error})") from error


def _from_weights(file: Path, weights: dict[str, Tensor]) -> Generator:
    """Load another program's weights into one of this package's networks if they fit, or else with spandrel."""
    if kind := foreign_kind(weights):
        raise ValueError(f"{file}: contains {kind}, not a super-resolution network; choose another file")
    state = renamed(of_generator(weights))
    found = identify(state)
    if found is None:
        return _from_spandrel(file, state)
    with limited_build(state.values(), str(file)):
        network = found.config.build(found.scale)
    expected = network.state_dict()
    if missing := [name for name in expected if name not in state]:
        raise ValueError(f"{file}: {found.name}, but incomplete: {first_few(missing)} {_MISSING}")
    if state.keys() - expected.keys():  # a relative of one of this package's networks
        return _from_spandrel(file, state)
    if wrong := [name for name in expected if state[name].shape != expected[name].shape]:
        raise ValueError(
            f"{file}: {found.name}, but {wrong[0]} has shape {tuple(state[wrong[0]].shape)} instead of "
            f"{tuple(expected[wrong[0]].shape)}: the tensors of two networks were mixed; choose another file"
        )
    network.load_state_dict(state)
    return Generator(network, file.stem, found.scale, UNKNOWN, found.config)


def _from_spandrel(file: Path, state: dict[str, Tensor]) -> Generator:
    if missing := missing_names(state):
        raise ValueError(f"{file}: incomplete: {first_few(missing)} {_MISSING}")
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError:
        raise ValueError(
            f"{file}: contains {describe(state)}, not one of this package's networks; to open it, "
            "install 'srgan-dist[spandrel]'"
        ) from None
    try:
        with limited_build(state.values(), str(file), factor=4):
            model = ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except UnsupportedModelError:
        raise ValueError(f"{file}: contains {describe(state)}, of no architecture that spandrel supports") from None
    except Exception as error:  # the architectures raise many types if a tensor is missing or has another shape
        raise ValueError(f"{file}: not a complete network that spandrel can open ({_reason(error)})") from error
    if not isinstance(model, ImageModelDescriptor) or (model.input_channels, model.output_channels) != (3, 3):
        raise ValueError(f"{file}: {model.architecture.name} does not map RGB images to RGB images")
    return Generator(ForeignNetwork(model, model.scale, str(file)), file.stem, model.scale, UNKNOWN)


def _reason(error: Exception) -> str:
    """Return what spandrel or PyTorch found wrong, on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        return f"it has no tensor {text}"
    missing = re.search(r"Missing key\(s\) in state_dict: (.*?)\.( |$)", text)
    return f"it has no tensor {missing[1]}"[:_LONGEST_REASON] if missing else text[:_LONGEST_REASON]


def save_generator(file: Path, network: nn.Module, config: GeneratorConfig, notes: dict[str, Any]) -> None:
    """Write a generator's weights, config and notes to a safetensors file, atomically.

    Args:
        file: The file to write. Its folder is created if necessary.
        network: The generator, without wrappers. Its weights are written in their own dtype.
        config: The config that built the generator.
        notes: `label`, `scale` and `degradation` (see `Generator`), and any other JSON values.

    Raises:
        ValueError: If the file cannot be written.
    """
    about = {"generator": to_dict(architecture(config), GeneratorConfig)} | notes
    header = {HEADER: json.dumps(about), "format": "pt"}
    weights = {name: t.detach().contiguous().cpu() for name, t in network.state_dict().items()}
    content = _sort_metadata(save(weights, metadata=header))  # save_file would make the file readable by its owner only
    with output_errors(file):
        write_bytes(content, file)


def _sort_metadata(content: bytes) -> bytes:
    """Return the bytes of a safetensors file with its metadata sorted by key.

    The library writes the metadata in a different order each time. Sorting it makes files of equal networks equal.
    """
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def weights_digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's class, parameters and buffers, in hexadecimal, whatever file they come from."""
    digest = hashlib.sha256(type(network).__name__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_weights(network: nn.Module, source: Path, partial: bool = False) -> None:
    """Load a generator's weights into a network, from any source of `load_generator`, with any published key names.

    Args:
        network: The network to load into.
        source: Where its weights are.
        partial: Load those that fit, and log which ones do not; see `load_matching`.

    Raises:
        ValueError: If there is no such source, it contains no weights, or they are those of another network; see
            `load_compatible_state_dict`.
    """
    if partial:
        log.info("%s", load_matching(network, renamed(read_weights(source)), str(source)))
    else:
        load_compatible_state_dict(network, read_weights(source), str(source))


def read_weights(source: Path) -> dict[str, Tensor]:
    """Return a generator's parameters by name, from any source of `load_generator`.

    A checkpoint's parameters are those of the exponential moving average.

    Raises:
        ValueError: If there is no such source, or it contains no weights.
    """
    path = find_model(source)
    if path.is_dir():
        return _averaged_weights(checkpoint.load(path), path)
    return of_generator(read_model_file(path).weights)
