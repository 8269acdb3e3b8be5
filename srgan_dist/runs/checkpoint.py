"""Checkpoints that are whole or not there. See decision 6 in architecture.md."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch

from srgan_dist.utils.files import atomic_path, remove, sha256_of, write_json, write_text
from srgan_dist.utils.renamed import with_current_names

log = logging.getLogger("srgan_dist")

_STATE = "state.pt"
COMPLETE = "COMPLETE.json"
"""Marks a complete checkpoint directory."""
LAST, BEST = "last", "best"
"""Files beside the checkpoints that hold the name of one."""


def save(folder: Path, step: int, state: dict[str, Any], keep: int, best: int | None) -> Path:
    """Write `step-NNNNNNNN` atomically; then prune older ones.

    Args:
        keep: how many of the latest stay.
        best: the step whose checkpoint stays besides.

    Raises:
        OSError: the disk is full, say; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name_of(step)
    with atomic_path(final) as partial:
        partial.mkdir()
        torch.save(state, partial / _STATE)
        notes = {"step": step, "phase": state.get("phase"), "sha256": {_STATE: sha256_of(partial / _STATE)}}
        write_json(notes, partial / COMPLETE)
        remove(final)  # a corrupt one of the same step
    _point(folder / LAST, final)
    if best is not None and (folder / name_of(best)).is_dir():
        _point(folder / BEST, folder / name_of(best))
    else:  # none in this phase yet; it would point to nothing
        (folder / BEST).unlink(missing_ok=True)
    _prune(folder, keep, best)
    return final


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Load the state of the latest valid checkpoint, on the CPU; fall back from corrupt ones with a warning.

    Raises:
        ValueError: there are checkpoints, and all of them are corrupt.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    for checkpoint in found:
        try:
            return load(checkpoint)
        except ValueError as error:
            log.warning("%s; falling back to the one before", error)
    if found:
        raise ValueError(
            f"all {len(found)} checkpoints in {folder} are corrupt; copy them from a backup, or remove {folder.parent} "
            "to begin again"
        )
    return None


def notes_of(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself: step, phase, hash; nothing where it cannot be read."""
    try:
        notes = json.loads((checkpoint / COMPLETE).read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def digest_of(checkpoint: Path) -> str:
    """Return the hash that a checkpoint was written with; empty where it cannot be read."""
    return str(notes_of(checkpoint).get("sha256", {}).get(_STATE, ""))


def is_intact(checkpoint: Path) -> bool:
    """Return whether a checkpoint's state is what was written."""
    digest, file = digest_of(checkpoint), checkpoint / _STATE
    return bool(digest) and file.is_file() and sha256_of(file) == digest


def load(checkpoint: Path) -> dict[str, Any]:
    """Load the state in one checkpoint directory, on the CPU.

    Args:
        checkpoint: the directory, or `last` or `best` beside it.

    Raises:
        ValueError: it is corrupt.
    """
    checkpoint = resolve(checkpoint)
    try:
        for name, digest in json.loads((checkpoint / COMPLETE).read_text())["sha256"].items():
            if sha256_of(checkpoint / name) != digest:
                raise ValueError(f"{name} is not what was written")
        return with_current_names(torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever a corrupt file makes json, pickle or zip raise
        raise ValueError(f"checkpoint {checkpoint} is corrupt ({error})") from error


def resolve(path: Path) -> Path:
    """Return the checkpoint directory that `last` or `best` names; any other path as it is.

    They are files that hold a name, which any system can copy; older versions made links of them.
    """
    if path.is_file() and path.name in (LAST, BEST):
        return path.parent / path.read_text().strip()
    return path.resolve() if path.is_symlink() else path


def name_of(step: int) -> str:
    """Return the name of a step's checkpoint directory."""
    return f"step-{step:08d}"


def _point(link: Path, target: Path) -> None:
    write_text(f"{target.name}\n", link)


def _prune(folder: Path, keep: int, best: int | None) -> None:
    for old in sorted(folder.glob("step-*"))[:-keep]:
        if best is None or old.name != name_of(best):
            shutil.rmtree(old)
    for stale in [*folder.glob(".*.partial"), *folder.glob(".tmp-*")]:  # of a killed process; of older versions
        remove(stale)
