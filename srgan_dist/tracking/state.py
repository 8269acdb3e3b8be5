"""What a run directory knows about its MLflow run: which it is, and how far it has got."""

import json
import os
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srgan_dist.tracking.points import Steps
from srgan_dist.utils.files import write_json
from srgan_dist.utils.renamed import with_current_names

FILE = "mlflow.json"


@dataclass(frozen=True, kw_only=True)
class TrackingState:
    """The content of `mlflow.json`; written before and after everything that must not happen twice."""

    tracking_uri: str
    """In the file, that of a local database is relative to the run directory, so that both may be moved."""
    folder: str = ""
    """Where the run directory was; a copy of it elsewhere is another run."""
    run_id: str = ""
    """Empty until the server has answered for the first time."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """A tag of the MLflow run, by which it is found if the answer to its creation was lost."""
    sent: Steps = field(default_factory=dict[str, int])
    """The last step that has arrived, of every number."""
    sending: Steps = field(default_factory=dict[str, int])
    """The last step of a batch whose arrival was not confirmed."""
    images: Steps = field(default_factory=dict[str, int])
    """The last step that has arrived, of every image."""
    models: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """By label: `sha256` of the file, MLflow's `model_id`, and once registered, `version`."""


class TrackingStateFile:
    """Holds a `Memory` and writes every change at once."""

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._folder, self._file = folder, folder / FILE
        self.now = _read(folder, tracking_uri)

    def change(self, **fields: Any) -> None:
        """Takes these fields over.

        Raises:
            OSError: the file cannot be written; in memory the change holds.
        """
        self.now = replace(self.now, **fields)
        place = {"tracking_uri": _relative(self.now.tracking_uri, self._folder), "folder": str(self._folder.resolve())}
        write_json(asdict(self.now) | place, self._file)


def read_tracking_state(folder: Path) -> TrackingState | None:
    """What the run directory remembers; None if MLflow never heard of it."""
    return _read(folder, "") if (folder / FILE).exists() else None


def _read(folder: Path, tracking_uri: str) -> TrackingState:
    if not (folder / FILE).exists():
        return TrackingState(tracking_uri=tracking_uri)
    state = TrackingState(**with_current_names(json.loads((folder / FILE).read_text())))
    uri = tracking_uri or _absolute(state.tracking_uri, folder, state.folder)
    if _is_copy(folder, state):  # the original's MLflow run is the original's
        return TrackingState(tracking_uri=uri)
    return replace(state, tracking_uri=uri)


def _is_copy(folder: Path, state: TrackingState) -> bool:
    """Whether the directory that this was written in is still there, at another place."""
    before = Path(state.folder) if state.folder else folder
    if before == folder.resolve() or not (before / FILE).is_file():
        return False
    try:
        return json.loads((before / FILE).read_text()).get("token") == state.token
    except (OSError, ValueError):
        return False


_SQLITE = "sqlite:///"


def _relative(uri: str, folder: Path) -> str:
    """The address of a local database as seen from the run directory; any other as it is."""
    file = uri.removeprefix(_SQLITE)
    if file == uri or not Path(file).is_absolute():
        return uri
    try:
        return _SQLITE + Path(os.path.relpath(file, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return uri


def _absolute(uri: str, folder: Path, before: str) -> str:
    """The reverse. Where only the run directory was moved, the database is still where it was."""
    file = uri.removeprefix(_SQLITE)
    if file == uri or Path(file).is_absolute():
        return uri
    here, there = ((Path(place) / file).resolve() for place in (folder, before or folder))
    return _SQLITE + str(here if here.exists() or not there.exists() else there)
