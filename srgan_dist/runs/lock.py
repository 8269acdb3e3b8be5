"""The lock of a run directory: `lock.json` with the host and process that hold it, and a heartbeat.

File locks are no alternative: network file systems lose them or leave them behind, and a requeued job has to continue
on another node.
"""

import json
import logging
import os
import platform
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from srgan_dist.utils.files import write_json

log = logging.getLogger("srgan_dist")

FILE = "lock.json"
HEARTBEAT, SILENCE = 30.0, 90.0
"""Seconds between two heartbeats, and without one until a holder on another machine is considered dead."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Identifies one boot of one machine, whatever its containers are called; only Linux has it."""


class RunLock:
    """Exclusive use of a directory, from a successful `try_acquire` until `release`.

    Args:
        run: a run directory, or a folder that shards are packed into.
        stop: what to do instead of waiting for the process that holds the lock.
    """

    def __init__(self, run: Path, stop: str = "stop it with: touch {run}/STOP") -> None:
        self._stop = stop.format(run=run)
        self._file, self._run = run / FILE, run
        self._identity = _identity()
        self._thread: threading.Thread | None = None
        self._released = threading.Event()
        self._announced = False

    def try_acquire(self) -> bool:
        """Acquire the lock if it is free; return whether it was. Otherwise, call again after a second.

        Raises:
            ValueError: if a process of this machine holds the lock.
        """
        holder = self._holder()
        if holder is not None and holder != self._identity:
            if self._on_this_machine(holder):
                if _alive(holder):
                    raise ValueError(
                        f"{self._run} is in use by process {holder['pid']} of this machine; wait for it to finish, or "
                        f"{self._stop}"
                    )
            elif self._age() < SILENCE:
                self._announce_wait(holder)
                return False
        self._run.mkdir(parents=True, exist_ok=True)
        if not self._write():
            return False
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()
        return True

    def _write(self) -> bool:
        """Write the lock; return False if another process, which found it free as well, was faster."""
        mine = self._file.with_name(f".{FILE}.{os.getpid()}.{platform.node()}")
        try:
            write_json(self._identity, mine)
            if self._holder() is not None or self._is_unreadable():  # of a dead process, or this one's own
                write_json(self._identity, self._file)
                return True
            try:
                os.link(mine, self._file)  # fails if the file exists, on network file systems too
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                write_json(self._identity, self._file)
            return True
        finally:
            mine.unlink(missing_ok=True)

    def _is_unreadable(self) -> bool:
        """Return whether the file exists but is no lock, as after a power failure."""
        return self._file.exists() and self._holder() is None

    def check(self) -> None:
        """Raise ValueError if another job has taken over the directory after missing heartbeats of this one."""
        if not self._thread:
            return
        if not self._run.is_dir():
            raise ValueError(f"{self._run} was deleted while it was in use")
        if self._holder() != self._identity:
            raise ValueError(
                f"another process has taken over {self._run} while this one was suspended, and continues the run; "
                "this one stops"
            )

    def release(self) -> None:
        """Release the lock, if this process still holds it."""
        self._released.set()
        if self._thread and self._holder() == self._identity:
            self._file.unlink(missing_ok=True)
        self._thread = None

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            if self._holder() == self._identity:
                with suppress(OSError):
                    os.utime(self._file)

    def _holder(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def _on_this_machine(self, holder: dict[str, Any]) -> bool:
        # Containers on one machine share its boot id but not its host name; their processes are invisible from here.
        return all(holder.get(name) == self._identity[name] for name in ("host", "boot"))

    def _age(self) -> float:
        """Return the seconds since the last heartbeat, by the clock of the file server: hosts' clocks may differ."""
        probe = self._file.with_name(f".{FILE}.{os.getpid()}.probe")
        try:
            probe.touch()
            return probe.stat().st_mtime - self._file.stat().st_mtime
        except FileNotFoundError:  # released in the meantime
            return SILENCE
        finally:
            probe.unlink(missing_ok=True)

    def _announce_wait(self, holder: dict[str, Any]) -> None:
        if not self._announced:
            log.info(
                "%s is held by process %s of %s; waiting until it exits or misses heartbeats for %.0f s",
                self._run, holder.get("pid"), holder.get("host"), SILENCE,
            )  # fmt: skip
            self._announced = True


def is_held(run: Path) -> bool:
    """Return whether a process trains in a run directory, without touching it.

    A process of another machine counts as alive until its heartbeats have been missing for 90 seconds.
    """
    lock = RunLock(run)
    holder = lock._holder()  # pyright: ignore[reportPrivateUsage]
    if holder is None:
        return False
    if lock._on_this_machine(holder):  # pyright: ignore[reportPrivateUsage]
        return _alive(holder)
    try:
        return time.time() - (run / FILE).stat().st_mtime < SILENCE
    except OSError:  # released in the meantime
        return False


def _identity() -> dict[str, Any]:
    boot = _BOOT.read_text("utf-8").strip() if _BOOT.exists() else ""
    started = psutil.Process().create_time()
    return {"host": platform.node(), "pid": os.getpid(), "started": started, "boot": boot}


def _alive(holder: dict[str, Any]) -> bool:
    """Return whether the holder still runs on this machine; a later process may have reused its PID."""
    try:
        process = psutil.Process(int(holder["pid"]))
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - holder["started"]) < 2
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
