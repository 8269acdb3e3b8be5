"""The state file `mlflow.json` of a run directory: which MLflow run it belongs to, and what that run has received."""

import json
import os
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srgan_dist.tracking.points import Steps
from srgan_dist.tracking.sqlite_address import PREFIX, sqlite_file, sqlite_uri
from srgan_dist.utils.addresses import public
from srgan_dist.utils.files import write_json
from srgan_dist.utils.renamed import with_current_names

FILE = "mlflow.json"


@dataclass(frozen=True, kw_only=True)
class TrackingState:
    """The content of `mlflow.json`; written before and after each request that must not be repeated."""

    tracking_uri: str
    """Address of the server; in the file, a local database is relative to the run directory, so that both can move."""
    folder: str = ""
    """Path of the run directory when this was written; tells a copy of the run from a moved one."""
    run_id: str = ""
    """ID of the MLflow run; empty until the server has responded for the first time."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tag of the MLflow run, by which it is found if the response to its creation was lost."""
    sent: Steps = field(default_factory=dict[str, int])
    """Last step that the server has received, of each metric."""
    sending: Steps = field(default_factory=dict[str, int])
    """Last step of each metric in a batch that the server has not confirmed."""
    images: Steps = field(default_factory=dict[str, int])
    """Last step that the server has received, of each image."""
    models: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """By label: `sha256` of the file, MLflow's `model_id`, `ready` once uploaded, and `version` once registered."""


class TrackingStateFile:
    """Holds a `TrackingState` and writes every update to the file immediately."""

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._folder, self._file = folder, folder / FILE
        self.now = _read(folder, tracking_uri)
        """The current state."""

    def update(self, **fields: Any) -> None:
        """Replace fields of the state and write the file.

        Raises:
            OSError: if the file cannot be written; the state in memory is updated nevertheless.
        """
        self.now = replace(self.now, **fields)
        location = {
            "tracking_uri": _relative(_public(self.now.tracking_uri), self._folder),
            "folder": str(self._folder.resolve()),
        }
        write_json(asdict(self.now) | location, self._file)


def read_tracking_state(folder: Path) -> TrackingState | None:
    """Return the state of a run directory; None if it has none."""
    return _read(folder, "") if (folder / FILE).exists() else None


def _read(folder: Path, tracking_uri: str) -> TrackingState:
    if not (folder / FILE).exists():
        return TrackingState(tracking_uri=tracking_uri)
    state = TrackingState(**with_current_names(json.loads((folder / FILE).read_text("utf-8"))))
    uri = tracking_uri or _absolute(state.tracking_uri, folder, state.folder)
    if _is_copy(folder, state):  # the MLflow run belongs to the original
        return TrackingState(tracking_uri=uri)
    return replace(state, tracking_uri=uri)


def _is_copy(folder: Path, state: TrackingState) -> bool:
    """Return whether the state was copied from another directory that still exists."""
    original = Path(state.folder) if state.folder else folder
    if original == folder.resolve() or not (original / FILE).is_file():
        return False
    try:
        return json.loads((original / FILE).read_text("utf-8")).get("token") == state.token
    except (OSError, ValueError):
        return False


def _public(uri: str) -> str:
    """Return an address without user name, password and query; that of a local database is not secret."""
    return uri if uri.startswith(PREFIX) else public(uri)


def _relative(uri: str, folder: Path) -> str:
    """Return the address of a local database relative to the run directory; any other address unchanged."""
    file = sqlite_file(uri)
    if file is None or "?" in uri:
        return uri
    try:
        return PREFIX + Path(os.path.relpath(file, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return uri


def _absolute(uri: str, folder: Path, previous_folder: str) -> str:
    """Invert `_relative`. If only the run directory was moved, the database is still relative to its previous path."""
    file = uri.removeprefix(PREFIX)
    if file == uri or Path(file).is_absolute() or "?" in file:
        return uri
    moved, unmoved = ((Path(base) / file).resolve() for base in (folder, previous_folder or folder))
    return sqlite_uri(moved if moved.exists() or not unmoved.exists() else unmoved)
