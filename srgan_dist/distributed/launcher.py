"""The program that launched this process (`accelerate launch`, torchrun, or none), and exiting together with it.

Imports nothing heavy: `exit_when_launcher_dies` has to run before anything can hang.
"""

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import yaml

from srgan_dist.utils.terminal import close_streams

GRACE = 45.0
"""Seconds in which a worker whose launcher died can save a checkpoint and exit by itself."""
_LAUNCHERS = ("accelerate launch", "accelerate-launch", "accelerate.commands", "torchrun", "torch.distributed")


def find_launcher() -> psutil.Process | None:
    """Return the launcher of this process, which forwards signals to it; None without a launcher."""
    parent = psutil.Process().parent()
    if parent is None:
        return None
    try:
        command = " ".join(parent.cmdline())
    except psutil.Error:  # owned by another user, or just exited
        return None
    return parent if any(name in command for name in _LAUNCHERS) else None


def requested_num_processes() -> int | None:
    """Return the number of processes that the launcher was told to start; None if it was not told, or there is none."""
    launcher = find_launcher()
    if launcher is None:
        return None
    arguments = [part for argument in launcher.cmdline() for part in argument.split("=", 1)]
    flags = [argument.replace("_", "-") for argument in arguments]
    if "--num-processes" in flags:
        return int(arguments[flags.index("--num-processes") + 1])
    if "--config-file" in flags:
        file = Path(launcher.cwd()) / arguments[flags.index("--config-file") + 1]
        return yaml.safe_load(file.read_text("utf-8")).get("num_processes")
    return None


def has_exited(parent: int) -> bool:
    """Return whether the parent that this process was started by has exited, from its process ID."""
    # Another process adopts the orphans, except on Windows, where they keep the ID of the parent.
    return os.getppid() != parent or not psutil.pid_exists(parent)


def exit_when_launcher_dies(grace: float = GRACE) -> None:
    """Start a thread that exits this process `grace` seconds after torchrun's agent, its parent, has died.

    The training loop notices a dead launcher and saves (`StopCoordinator`). But a worker that is still starting waits
    for a rendezvous that died with the agent, and a worker whose peers exited waits in a collective: both for minutes,
    while the resumed run already writes to the same directory.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(os.getppid(), grace), name="launcher", daemon=True).start()


def _watch(launcher: int, grace: float) -> None:
    while not has_exited(launcher):
        time.sleep(1)
    time.sleep(grace)
    sys.stderr.write("error: the launcher died, and this process did not exit within the grace period\n")
    sys.stderr.flush()
    os._exit(1)


def exit_process(code: int) -> int:
    """Return the exit code; in a job of several processes, exit with it immediately instead.

    Tearing down gloo at interpreter exit sometimes aborts a process that has finished, and a process that failed must
    not wait for the others while exiting.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(close_streams(code))
    return code
