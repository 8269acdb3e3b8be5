"""What a run directory knows about its MLflow run: which it is, and how far it has got."""

import json
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srgan_dist.tracking.points import Steps
from srgan_dist.utils.files import write_json

FILE = "mlflow.json"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The content of `mlflow.json`; written before and after everything that must not happen twice."""

    tracking_uri: str
    run_id: str = ""
    """Empty until the server has answered for the first time."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """A tag of the MLflow run, by which it is found if the answer to its creation was lost."""
    sent: Steps = field(default_factory=dict[str, int])
    """The last step that has arrived, of every number."""
    sending: Steps = field(default_factory=dict[str, int])
    """The last step of a batch whose arrival was not confirmed."""
    pictures: Steps = field(default_factory=dict[str, int])
    """The last step that has arrived, of every picture."""
    models: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """By label: `sha256` of the file, MLflow's `model_id`, and once registered, `version`."""


class Keeper:
    """Holds a `Memory` and writes every change at once."""

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._file = folder / FILE
        self.now = _read(self._file, tracking_uri)

    def change(self, **fields: Any) -> None:
        """Takes these fields over.

        Raises:
            OSError: the file cannot be written; in memory the change holds.
        """
        self.now = replace(self.now, **fields)
        write_json(asdict(self.now), self._file)


def read_memory(folder: Path) -> Memory | None:
    """What the run directory remembers; None if MLflow never heard of it."""
    file = folder / FILE
    return _read(file, "") if file.exists() else None


def _read(file: Path, tracking_uri: str) -> Memory:
    if not file.exists():
        return Memory(tracking_uri=tracking_uri)
    memory = Memory(**json.loads(file.read_text()))
    return replace(memory, tracking_uri=tracking_uri or memory.tracking_uri)
