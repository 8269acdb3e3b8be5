"""Generators as files: safetensors with everything in the header that is needed to build the network again."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save
from torch import nn

from srgan_dist.config import from_dict, to_dict
from srgan_dist.models import GeneratorConfig, architecture, restore
from srgan_dist.weights import HEADER, final_model, read_notes, read_weights


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
    """All that the file's header says: metrics, data, licence."""


def save_generator(file: Path, network: nn.Module, config: GeneratorConfig, notes: dict[str, Any]) -> None:
    """Writes the weights (contiguous, without wrapper prefixes) with config and notes; whole or not at all.

    Args:
        notes: `label`, `scale` and `degradation` (see `Generator`), and what else people may want to know.
    """
    about = {"generator": to_dict(architecture(config), GeneratorConfig)} | notes
    header = {HEADER: json.dumps(about), "format": "pt"}
    weights = {name: t.detach().contiguous().cpu() for name, t in network.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(_ordered(save(weights, metadata=header)))  # save_file would make it readable to its owner only
    os.replace(partial, file)


def _ordered(content: bytes) -> bytes:
    """A safetensors file with its notes in order, which the library writes in another one each time: the same network
    is the same file."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def load_generator(source: Path) -> Generator:
    """The generator in a file, or the final one of a run directory.

    Raises:
        ValueError: no such file or run, or a file that this program did not write.
    """
    file = final_model(source) if source.is_dir() else source
    if not file.is_file():
        raise ValueError(f"{file}: there is no such model file or run directory")
    notes = read_notes(file)
    if notes is None:
        raise ValueError(f"{file}: not written by srgan_dist (no {HEADER!r} in its header)")
    config: Any = from_dict(GeneratorConfig, notes["generator"])  # pyright: ignore[reportArgumentType]
    network = restore(config, notes["scale"], read_weights(file)).eval().requires_grad_(False)
    return Generator(network, notes["label"], notes["scale"], notes["degradation"], config, notes)
