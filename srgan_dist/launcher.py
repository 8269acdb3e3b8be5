"""The program that started this process: `accelerate launch`, torchrun, or none."""

from pathlib import Path

import psutil
import yaml

_LAUNCHERS = ("accelerate launch", "accelerate-launch", "accelerate.commands", "torchrun", "torch.distributed")


def find_launcher() -> psutil.Process | None:
    """The launcher of this process. When it dies, nobody passes signals on."""
    parent = psutil.Process().parent()
    if parent is None:
        return None
    try:
        command = " ".join(parent.cmdline())
    except psutil.Error:  # another user's, or just gone
        return None
    return parent if any(name in command for name in _LAUNCHERS) else None


def asked_of_launcher() -> int | None:
    """How many processes a launcher that started this one alone was asked for."""
    launcher = find_launcher()
    if launcher is None:
        return None
    words = [part for word in launcher.cmdline() for part in word.split("=", 1)]
    flags = [word.replace("_", "-") for word in words]
    if "--num-processes" in flags:
        return int(words[flags.index("--num-processes") + 1])
    if "--config-file" in flags:
        file = Path(launcher.cwd()) / words[flags.index("--config-file") + 1]
        return yaml.safe_load(file.read_text()).get("num_processes")
    return None
