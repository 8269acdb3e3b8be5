"""Checkpoints, written atomically and verified by hash. See decision 6 in docs/explanation/architecture.md."""

import json
import logging
from pathlib import Path
from typing import Any

import torch

from srgan_dist.utils.files import atomic_path, remove, sha256_of, write_json, write_text
from srgan_dist.utils.renamed import with_current_names
from srgan_dist.utils.untrusted import path_below

log = logging.getLogger("srgan_dist")

_STATE = "state.pt"
COMPLETE = "COMPLETE.json"
"""The file that marks a checkpoint directory as complete; holds step, phase and hashes."""
_LONGEST_NAME = 300
LAST, BEST = "last", "best"
"""Files next to the checkpoints that each hold the name of one."""


def save(folder: Path, step: int, state: dict[str, Any], keep: int, best: int | None) -> Path:
    """Write `step-NNNNNNNN` atomically, then delete older checkpoints; return its directory.

    Args:
        keep: number of latest checkpoints to keep.
        best: step of a checkpoint to keep in addition; None if there is none.

    Raises:
        OSError: if the checkpoint cannot be written, for example on a full disk; earlier ones are left untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name_of(step)
    with atomic_path(final) as partial:
        partial.mkdir()
        torch.save(state, partial / _STATE)
        notes = {"step": step, "phase": state.get("phase"), "sha256": {_STATE: sha256_of(partial / _STATE)}}
        write_json(notes, partial / COMPLETE)
        remove(final)  # a corrupt one of the same step
    _write_reference(folder / LAST, final)
    if best is not None and (folder / name_of(best)).is_dir():
        _write_reference(folder / BEST, folder / name_of(best))
    else:  # no best checkpoint in this phase yet: the file would name one that gets deleted
        (folder / BEST).unlink(missing_ok=True)
    _prune(folder, keep, best)
    return final


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Load the state of the latest valid checkpoint, on the CPU; None if there are no checkpoints.

    Corrupt checkpoints are skipped with a warning.

    Raises:
        ValueError: if there are checkpoints, but all of them are corrupt.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    for checkpoint in found:
        try:
            return load(checkpoint)
        except ValueError as error:
            log.warning("%s; falling back to the previous checkpoint", error)
    if found:
        raise ValueError(
            f"all {len(found)} checkpoints in {folder} are corrupt; restore them from a backup, or delete "
            f"{folder.parent} to start over"
        )
    return None


def notes_of(checkpoint: Path) -> dict[str, Any]:
    """Return the metadata of a checkpoint (step, phase, hashes); an empty dictionary if it cannot be read."""
    try:
        notes = json.loads((checkpoint / COMPLETE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def digest_of(checkpoint: Path) -> str:
    """Return the recorded SHA-256 of a checkpoint's state; an empty string if it cannot be read."""
    return str(notes_of(checkpoint).get("sha256", {}).get(_STATE, ""))


def is_intact(checkpoint: Path) -> bool:
    """Return whether a checkpoint's state matches its recorded hash."""
    digest, file = digest_of(checkpoint), checkpoint / _STATE
    return bool(digest) and file.is_file() and sha256_of(file) == digest


def load(checkpoint: Path) -> dict[str, Any]:
    """Load the state of one checkpoint, on the CPU.

    Args:
        checkpoint: its directory, or the file `last` or `best`.

    Raises:
        ValueError: if the checkpoint is missing or corrupt.
    """
    checkpoint = resolve(checkpoint)
    try:
        for name, digest in json.loads((checkpoint / COMPLETE).read_text("utf-8"))["sha256"].items():
            if sha256_of(path_below(checkpoint, name)) != digest:
                raise ValueError(f"{name} does not match its recorded hash")
        return with_current_names(torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever a corrupt file makes json, pickle or zip raise
        raise ValueError(f"checkpoint {checkpoint} is corrupt ({error})") from error


def resolve(path: Path) -> Path:
    """Return the checkpoint directory that `last` or `best` refers to; any other path unchanged.

    They are plain files that hold a name, which every file system can copy; older versions wrote symbolic links.

    Raises:
        ValueError: if the name is not that of a directory beside the file.
    """
    if path.is_file() and path.name in (LAST, BEST):
        with path.open("rb") as content:
            name = content.read(_LONGEST_NAME).decode(errors="replace").strip()
        return path_below(path.parent, name, follow_links=True)
    return path.resolve() if path.is_symlink() else path


def name_of(step: int) -> str:
    """Return the name of the checkpoint directory of a step."""
    return f"step-{step:08d}"


def _write_reference(file: Path, target: Path) -> None:
    write_text(f"{target.name}\n", file)


def _prune(folder: Path, keep: int, best: int | None) -> None:
    for old in sorted(folder.glob("step-*"))[:-keep]:
        if best is None or old.name != name_of(best):
            remove(old)  # what another process has open stays on Windows, and is removed the next time
    for stale in [*folder.glob(".*.partial"), *folder.glob(".tmp-*")]:  # of a killed process; of older versions
        remove(stale)
