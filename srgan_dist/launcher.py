"""What a worker owes its launcher. Loads nothing heavy, because it must begin before anything can hang."""

import os
import sys
import threading
import time

GRACE = 45.0
"""Seconds in which a worker whose launcher is gone can save and end by itself."""


def end_with_launcher(grace: float = GRACE) -> None:
    """Ends this process some time after torchrun's agent, its parent, was killed.

    Training notices by itself and saves (`Consensus`). But a worker that is still starting waits for a rendezvous
    that died with the agent, and one whose neighbours are gone waits in a collective: both for minutes, while the
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
