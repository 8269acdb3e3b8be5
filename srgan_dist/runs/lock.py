"""One group of processes at a time holds a run directory: host, process and a heartbeat in `lock.json`.

Not a file lock: those of network file systems get lost or stay behind, and a requeued job must go on on another node.
"""

import json
import logging
import os
import platform
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from srgan_dist.utils.files import write_json

log = logging.getLogger("srgan_dist")

FILE = "lock.json"
HEARTBEAT, SILENCE = 30.0, 90.0
"""Seconds between two signs of life, and after which a holder on another machine counts as gone."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class RunLock:
    """Holds a run directory until `release`, once `try_acquire` has succeeded."""

    def __init__(self, run: Path) -> None:
        self._file, self._run = run / FILE, run
        self._me = _identity()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._told = False

    def try_acquire(self) -> bool:
        """Take the directory; return whether it was free. Call again after a second if not.

        Raises:
            ValueError: a process of this machine trains in it.
        """
        holder = self._holder()
        if holder is not None and holder != self._me:
            if self._on_this_machine(holder):
                if _alive(holder):
                    raise ValueError(
                        f"{self._run} is being trained by process {holder['pid']} of this machine; wait for it, or "
                        f"stop it with: touch {self._run}/STOP"
                    )
            elif self._age() < SILENCE:
                self._tell(holder)
                return False
        self._run.mkdir(parents=True, exist_ok=True)
        write_json(self._me, self._file)
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()
        return True

    def check(self) -> None:
        """Raise ValueError if another group has taken the directory, because this one was silent for too long."""
        if self._thread and self._holder() != self._me:
            raise ValueError(
                f"another process has taken over {self._run} while this one was suspended; it goes on there"
            )

    def release(self) -> None:
        """Give the directory back."""
        self._ended.set()
        if self._thread and self._holder() == self._me:
            self._file.unlink(missing_ok=True)
        self._thread = None

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            if self._holder() == self._me:
                with suppress(OSError):
                    os.utime(self._file)

    def _holder(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None

    def _on_this_machine(self, holder: dict[str, Any]) -> bool:
        # Containers of one machine have its boot in common but other names; their processes are not seen from here.
        return all(holder.get(name) == self._me[name] for name in ("host", "boot"))

    def _age(self) -> float:
        """Seconds since the last sign of life, by the clock of whoever keeps the files."""
        probe = self._file.with_name(f".{FILE}.{os.getpid()}.probe")
        try:
            probe.touch()
            return probe.stat().st_mtime - self._file.stat().st_mtime
        except FileNotFoundError:  # released in between
            return SILENCE
        finally:
            probe.unlink(missing_ok=True)

    def _tell(self, holder: dict[str, Any]) -> None:
        if not self._told:
            log.info(
                "%s was held by process %s of %s a moment ago; waiting until it ends or is silent for %.0f s",
                self._run, holder.get("pid"), holder.get("host"), SILENCE,
            )  # fmt: skip
            self._told = True


def _identity() -> dict[str, Any]:
    boot = _BOOT.read_text().strip() if _BOOT.exists() else str(int(psutil.boot_time()))
    started = psutil.Process().create_time()
    return {"host": platform.node(), "pid": os.getpid(), "started": started, "boot": boot}


def _alive(holder: dict[str, Any]) -> bool:
    """Whether the very process still runs on this machine, not another one under its number."""
    try:
        process = psutil.Process(int(holder["pid"]))
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - holder["started"]) < 2
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
