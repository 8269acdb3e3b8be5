"""The program that started this process (`accelerate launch`, torchrun, or none), and what a worker owes it.

Loads nothing heavy, because the watch must begin before anything can hang.
"""

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import yaml

GRACE = 45.0
"""Seconds in which a worker whose launcher is gone can save and end by itself."""
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


def requested_num_processes() -> int | None:
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


def exit_when_launcher_dies(grace: float = GRACE) -> None:
    """Ends this process some time after torchrun's agent, its parent, was killed.

    Training notices by itself and saves (`StopCoordinator`). But a worker that is still starting waits for a rendezvous
    that died with the agent, and one whose neighbors are gone waits in a collective: both for minutes, while the
    resumed run already writes into the same directory.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(os.getppid(), grace), name="launcher", daemon=True).start()


def _watch(launcher: int, grace: float) -> None:
    while os.getppid() == launcher:
        time.sleep(1)
    time.sleep(grace)
    sys.stderr.write("error: the launcher was killed, and this process did not end by itself\n")
    sys.stderr.flush()
    os._exit(1)


def exit_process(code: int) -> int:
    """Return the exit code; among several processes, end this one with it at once.

    Tearing down gloo at interpreter exit sometimes aborts a process that has finished, and a process that
    failed must not wait for others on its way out.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
