"""What a run was made with: command, versions, git state, machine. `environment.json` has a session for each start."""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import torch

from srgan_dist.utils.files import write_bytes, write_json

FILE = "environment.json"
PACKAGES = (
    "srgan-dist", "torch", "torchvision", "accelerate", "numpy", "pillow", "webdataset", "safetensors", "mlflow",
)  # fmt: skip
_PATCH_LIMIT = 1 << 20
_SOURCE = Path(__file__).parent

Facts = dict[str, Any]


def facts(device: torch.device, processes: int, precision: str, launched: list[str]) -> Facts:
    """This session's, as plain JSON.

    Args:
        precision: what `auto` has become.
        launched: the command line of the launcher, or of this process.
    """
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join(launched),
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "system": platform.platform(),
        "world_size": processes,
        "precision": precision,
        "device": device_facts(device),
        "versions": versions(),
        "git": git_state(),
    }


def versions() -> dict[str, str]:
    """Of Python and the libraries that have a say in the result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def device_facts(device: torch.device) -> dict[str, Any]:
    """Kind and name of the device, with what drives it."""
    if device.type != "cuda":
        return {"type": device.type, "name": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    return {
        "type": "cuda",
        "name": torch.cuda.get_device_name(device),
        "count": torch.cuda.device_count(),
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _driver() -> str:
    return _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]


def git_state() -> dict[str, Any]:
    """Commit, and whether tracked files differ from it; empty where the program does not run from a git checkout."""
    commit = _said("git", "rev-parse", "HEAD")
    if not commit or not _said("git", "ls-files", "environment.py"):  # a checkout around site-packages is not ours
        return {}
    dirty = bool(_said("git", "status", "--porcelain", "--untracked-files=no"))
    return {"commit": commit, "branch": _said("git", "rev-parse", "--abbrev-ref", "HEAD"), "dirty": dirty}


def _said(*command: str) -> str:
    """What a program prints; nothing if it fails, or is not there."""
    return _output(*command).decode(errors="replace").rstrip("\n")


def _output(*command: str) -> bytes:
    try:
        return subprocess.run(command, cwd=_SOURCE, capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


def remember(folder: Path, session: Facts) -> None:
    """Adds the session to `environment.json`, and keeps the uncommitted changes beside it."""
    before = sessions(folder)
    patch = _output("git", "diff", "--no-ext-diff", "--no-color", "--binary", "HEAD") if _dirty(session) else b""
    if 0 < len(patch) <= _PATCH_LIMIT:
        session["patch"] = f"uncommitted-{len(before)}.patch"
        write_bytes(patch, folder / session["patch"])
    write_json({"sessions": [*before, session]}, folder / FILE, indent=2)


def _dirty(session: Facts) -> bool:
    return bool(session["git"].get("dirty"))


def sessions(folder: Path) -> list[Facts]:
    """Every start of the run, the first one first; none for a run of an older version."""
    file = folder / FILE
    return cast(dict[str, Any], json.loads(file.read_text()))["sessions"] if file.exists() else []


def tags(session: Facts) -> dict[str, str]:
    """The same for MLflow, flat; those under `mlflow.` are shown in its tables."""
    git, device = session["git"], session["device"]
    found = {f"git.{name}": value for name, value in git.items()}
    found |= {f"device.{name}": value for name, value in device.items() if name != "type"}
    found |= {f"version.{name}": value for name, value in session["versions"].items()}
    found |= {name: session[name] for name in ("host", "system", "world_size", "precision", "command")}
    found |= {"device": device["type"], "mlflow.source.name": Path(sys.argv[0]).name}
    if session.get("changed"):
        found["changed"] = "\n".join(session["changed"])
    if git:
        found["mlflow.source.git.commit"] = git["commit"]
    return {name: str(value) for name, value in found.items()}
