"""The environment of a run, for reproducing it: command, versions, git state, machine.

`environment.json` in the run directory holds one session per start.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import torch

from srgan_dist.distributed.precision import MixedPrecision
from srgan_dist.utils.addresses import redacted_command
from srgan_dist.utils.files import write_bytes, write_json
from srgan_dist.utils.untrusted import choice, integer, is_file_name, items, parse_json, section

FILE = "environment.json"
PACKAGES = (
    "srgan-dist", "torch", "torchvision", "accelerate", "numpy", "pillow", "webdataset", "safetensors", "mlflow",
)  # fmt: skip
_PATCH_LIMIT = 1 << 20
"""Largest diff of uncommitted changes that is saved, in bytes."""
_SOURCE = Path(__file__).parent

_LONGEST = 16 << 20
"""Largest `environment.json` that is read, in bytes."""

Facts = dict[str, Any]
"""One session, as plain JSON values."""


def session_facts(device: torch.device, processes: int, precision: str, command: list[str]) -> Facts:
    """Return the environment of this session.

    Args:
        precision: what `auto` was resolved to.
        command: command line of the launcher, or of this process if there is none; secrets in URLs are not recorded.
    """
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join(redacted_command(command)),
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
    """Return the versions of Python and of the libraries that affect the result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def device_facts(device: torch.device) -> dict[str, Any]:
    """Return type and name of the device, and the versions of its driver and libraries."""
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
    return _run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]


def git_state() -> dict[str, Any]:
    """Return commit, branch and whether tracked files are modified; empty outside a git checkout of this program."""
    commit = _run("git", "rev-parse", "HEAD")
    if not commit or not _run("git", "ls-files", "environment.py"):  # installed into another project's checkout
        return {}
    dirty = bool(_run("git", "status", "--porcelain", "--untracked-files=no"))
    return {"commit": commit, "branch": _run("git", "rev-parse", "--abbrev-ref", "HEAD"), "dirty": dirty}


def _run(*command: str) -> str:
    """Return the output of a program; an empty string if it fails or is not installed."""
    return _run_bytes(*command).decode(errors="replace").rstrip("\n")


def _run_bytes(*command: str) -> bytes:
    try:
        return subprocess.run(command, cwd=_SOURCE, capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


def append_session(folder: Path, session: Facts) -> None:
    """Append the session to `environment.json`, and save uncommitted changes as a patch next to it.

    The name of the patch is added to the session as `patch`.
    """
    earlier = sessions(folder)
    patch = _run_bytes("git", "diff", "--no-ext-diff", "--no-color", "--binary", "HEAD") if _dirty(session) else b""
    if 0 < len(patch) <= _PATCH_LIMIT:
        session["patch"] = f"uncommitted-{len(earlier)}.patch"
        write_bytes(patch, folder / session["patch"])
    write_json({"sessions": [*earlier, session]}, folder / FILE, indent=2)


def _dirty(session: Facts) -> bool:
    return bool(session["git"].get("dirty"))


def sessions(folder: Path) -> list[Facts]:
    """Return the sessions of a run in order of their start; an empty list for runs of older versions.

    Raises:
        ValueError: the file is corrupt, or a fact has the wrong type.
    """
    file = folder / FILE
    if not file.exists():
        return []
    try:
        return [_checked(session) for session in items(parse_json(file.read_bytes(), _LONGEST), "sessions")]
    except ValueError as error:
        raise ValueError(f"{file}: corrupt ({error})") from None


def _checked(session: Any) -> Facts:
    """Return a session whose facts have the right types; missing ones are filled in. Runs may be other people's."""
    if not isinstance(session, dict):
        raise ValueError("a session is not an object")
    facts: Facts = dict(session)  # pyright: ignore[reportUnknownArgumentType]
    for name in ("device", "versions", "git", "data"):
        facts[name] = {str(k): _plain(v) for k, v in section({name: {}} | facts, name).items()}
    for name in ("started", "command", "folder", "host", "system"):
        facts[name] = _plain(facts.get(name, "unknown"))
    facts["world_size"] = integer({"world_size": 1} | facts, "world_size", 1, 1 << 20)
    facts["precision"] = choice({"precision": "no"} | facts, "precision", get_args(MixedPrecision))
    facts["device"] = {"type": "unknown", "name": "unknown"} | facts["device"]
    if not re.fullmatch(r"[0-9a-f]{7,64}|", str(facts["git"].get("commit", ""))):
        raise ValueError("git commit is not a hash")
    if "patch" in facts and not is_file_name(facts["patch"]):
        raise ValueError("patch is not the name of a file in the run directory")
    return facts


def _plain(value: Any) -> Any:
    """Return a number unchanged, and anything else as text of one line without control characters."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return "".join(c if c.isprintable() else " " for c in str(value)[:20_000])


def tags(session: Facts) -> dict[str, str]:
    """Return a session as flat MLflow tags; MLflow shows those named `mlflow.*` in its run table."""
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
