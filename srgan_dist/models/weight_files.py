"""Reading files of weights: safetensors, and what torch.save wrote. Code in a file is never run."""

import logging
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor
from torch.serialization import safe_globals

from srgan_dist.models.build_limit import check_storage
from srgan_dist.models.file_kinds import is_safetensors, refuse_other_kinds
from srgan_dist.models.state_dicts import unwrapped
from srgan_dist.utils.untrusted import parse_json

log = logging.getLogger("srgan_dist")

HEADER = "srgan_dist"
"""Key of this package's notes in a safetensors header."""
_LONGEST_HEADER = 4 << 20
_MOST_CLASSES = 100
"""Classes of other programs in one file after which reading is given up."""
_FRAMEWORKS = (
    "mmengine.", "mmcv.", "mmagic.", "mmedit.", "mmgen.", "numpy.", "omegaconf.", "pytorch_lightning.", "lightning.",
    "lightning_fabric.", "argparse.", "pathlib.", "datetime.", "collections.", "typing.", "_codecs.", "easydict.",
    "addict.", "yacs.", "ml_collections.", "basicsr.", "torch.", "builtins.",
)  # fmt: skip
"""Programs whose training checkpoints contain settings and logs as objects beside the weights."""
_TYPES = frozenset(
    {"bool", "bytes", "complex", "dict", "float", "int", "list", "object", "range", "slice", "str", "tuple"}
)
"""Built-in types that such objects refer to."""


class ModelFile(NamedTuple):
    """The content of one model file, read once."""

    weights: dict[str, Tensor]
    """Parameters by name, without wrappers and their prefixes."""
    notes: dict[str, Any] | None
    """The notes that this package wrote into the header; None for files of other programs."""


def read_model_file(file: Path) -> ModelFile:
    """Read a safetensors file, or a file that torch.save wrote, whatever its name. Code in the file is never run.

    Raises:
        ValueError: If the file cannot be read, or does not contain weights by name.
    """
    refuse_other_kinds(file)
    if not is_safetensors(file) and (file.suffix != ".safetensors" or _is_pickle(file)):
        return ModelFile(_weights_of(file, _read_torch(file)), None)
    try:
        with safe_open(file, "pt") as content:
            header = (content.metadata() or {}).get(HEADER)
            weights = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a dictionary)
    except Exception as error:  # besides SafetensorError, torch's own about data types that it does not know
        reason = str(error).strip().split("\n", 1)[0][:200] or type(error).__name__
        raise ValueError(f"{file}: not a safetensors file ({reason})") from None
    try:
        return ModelFile(unwrapped(weights), parse_json(header.encode(), _LONGEST_HEADER) if header else None)
    except ValueError as error:
        raise ValueError(f"{file}: its header is corrupt ({error})") from None


def _is_pickle(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(2) in (b"PK", b"\x80\x02")


def _weights_of(file: Path, content: dict[str, Any]) -> dict[str, Tensor]:
    weights = unwrapped(content)
    if weights:
        return weights
    if "networks" in content and "step" in content:
        raise ValueError(f"{file}: part of a checkpoint; pass its directory, {file.parent}")
    if any(str(key).startswith("optimizer") for key in content):
        raise ValueError(
            f"{file}: the state of a training program's optimizers, without a network; pass the network's file that "
            "was saved with it, such as net_g_N.pth"
        )
    return weights


def _read_torch(file: Path) -> dict[str, Any]:
    _check_archive(file)
    stand_ins: dict[str, type[_Ignored]] = {}
    while True:
        try:
            # Warnings are about pickled code, which is replaced or rejected in any case.
            with (
                warnings.catch_warnings(action="ignore"),
                safe_globals([(stand_in, name) for name, stand_in in stand_ins.items()]),
                file.open("rb") as opened,  # given its name, torch.load refuses one that ends in .safetensors
            ):
                content: Any = torch.load(opened, map_location="cpu", weights_only=True)
            break
        except Exception as error:  # torch raises many types for files of other formats
            found = re.search(r"GLOBAL ([\w.]+)", str(error))
            name = found[1] if found else ""
            name = f"builtins.{name}" if name in _TYPES else name  # torch leaves the module out
            if name in stand_ins or len(stand_ins) >= _MOST_CLASSES or not name.startswith(_FRAMEWORKS):
                reason = f"it contains code, {name}, which is not run" if name else "PyTorch cannot read it"
                raise ValueError(f"{file}: not a file of weights ({reason})") from None
            stand_ins[name] = _Mapping if name == "collections.defaultdict" else type("Ignored", (_Ignored,), {})
    if not isinstance(content, dict):
        raise ValueError(f"{file}: contains a {type(content).__name__}, not weights by name")
    check_storage(unwrapped(content), str(file))  # pyright: ignore[reportUnknownArgumentType]
    return content  # pyright: ignore[reportUnknownVariableType]


def _check_archive(file: Path) -> None:
    """Raise ValueError if a file is a zip archive whose content is larger than itself, which torch never writes."""
    try:
        with zipfile.ZipFile(file) as archive:
            content = sum(entry.file_size for entry in archive.infolist())
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from None
    except Exception:  # not a zip archive: an older format, or none at all
        return
    if content > file.stat().st_size:
        raise ValueError(f"{file}: not a file of weights (its content of {content} bytes is compressed or overlaps)")


class _Ignored:
    """Takes the place of an object that a training program saved beside the weights; nothing of it is kept or run."""

    def __new__(cls, *args: object) -> Any:
        del args
        return super().__new__(cls)

    def __init__(self, *args: object) -> None:
        del args

    def __setstate__(self, state: object) -> None:
        del state


class _Mapping(_Ignored):
    """Takes the place of a defaultdict, whose items are set after it is made."""

    def __new__(cls, *args: object) -> Any:
        del args
        return {}
