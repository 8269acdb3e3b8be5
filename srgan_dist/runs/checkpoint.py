"""Checkpoints that are whole or not there. See decision 6 in architecture.md."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from srgan_dist.utils.files import sha256_of, write_json

log = logging.getLogger("srgan_dist")

_STATE = "state.pt"
COMPLETE = "COMPLETE.json"
"""Marks a whole checkpoint directory."""


def save(folder: Path, step: int, state: dict[str, Any], keep: int, best: int | None) -> Path:
    """Writes `step-XXXXXXXX` under a temporary name, syncs, renames; then prunes older ones.

    Args:
        keep: how many of the latest stay.
        best: the step whose checkpoint stays besides.

    Raises:
        OSError: the disk is full, say; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, partial = folder / _name(step), folder / f".tmp-{_name(step)}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with (partial / _STATE).open("wb") as out:
            torch.save(state, out)
            out.flush()
            os.fsync(out.fileno())
        write_json({"step": step, "sha256": {_STATE: sha256_of(partial / _STATE)}}, partial / COMPLETE)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _point(folder / "last", final)
    if best is not None and (folder / _name(best)).is_dir():
        _point(folder / "best", folder / _name(best))
    _prune(folder, keep, best)
    return final


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The state of the newest whole checkpoint, on the CPU; damaged ones are passed over with a warning."""
    for checkpoint in sorted(folder.glob("step-*"), reverse=True):
        try:
            return load(checkpoint)
        except ValueError as error:
            log.warning("%s; passing over to the one before", error)
    return None


def load(checkpoint: Path) -> dict[str, Any]:
    """The state in one checkpoint directory, on the CPU.

    Raises:
        ValueError: it is not whole.
    """
    try:
        for name, digest in json.loads((checkpoint / COMPLETE).read_text())["sha256"].items():
            if sha256_of(checkpoint / name) != digest:
                raise ValueError(f"{name} is not what was written")
        return torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes json, pickle or zip raise
        raise ValueError(f"checkpoint {checkpoint} is damaged ({error})") from error


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _point(link: Path, target: Path) -> None:
    fresh = link.with_name(f".{link.name}.partial")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.name)
    os.replace(fresh, link)


def _prune(folder: Path, keep: int, best: int | None) -> None:
    for old in sorted(folder.glob("step-*"))[:-keep]:
        if best is None or old.name != _name(best):
            shutil.rmtree(old)
    for stale in folder.glob(".tmp-*"):
        shutil.rmtree(stale)
