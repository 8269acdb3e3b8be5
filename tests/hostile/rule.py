"""The rule for every file of other people: a right result, or one line and a non-zero code. Nothing else happens."""

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from srgan_dist.cli import app
from srgan_dist.cli.console import failed

SECONDS = 20
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_HARMLESS = ("/dev/null", "/proc/")
MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory, where the many files are written quickly; None for the usual one."""


class BrokenRule(Exception):  # noqa: N818
    """What happened although it must not."""


class Hang(BaseException):
    """Raised by the alarm; not an Exception, so that no handler takes it for a corrupt file."""


@dataclass
class Watch:
    """Records files written outside of a folder, connections to other hosts, and programs started."""

    folder: Path = Path("/nonexistent")
    hosts: tuple[str, ...] = ()
    active: bool = False
    outside: list[str] = field(default_factory=list)

    def hook(self, event: str, args: tuple) -> None:
        if not self.active:
            return
        if event == "open":
            path, mode, flags = args
            if isinstance(path, (str, bytes)) and (set(mode or "") & set("wax+") or (flags or 0) & _WRITING):
                self._changed(event, path)
        elif event in _CHANGES:
            for path in args[: 2 if event in ("os.rename", "os.link") else 1]:
                self._changed(event, path)
        elif event == "socket.connect" and isinstance(args[1], tuple):
            self._connected(str(args[1][0]))
        elif event == "socket.getaddrinfo":
            self._connected(str(args[0]))
        elif event in _PROGRAMS:
            self.outside.append(f"{event} {args[:2]!r}"[:200])

    def _changed(self, event: str, path: object) -> None:
        if isinstance(path, (str, bytes, os.PathLike)):
            full = os.path.realpath(os.fsdecode(path))
            if not full.startswith((str(self.folder), *_HARMLESS)):
                self.outside.append(f"{event} {full}")

    def _connected(self, host: str) -> None:
        if host not in (*self.hosts, "None"):
            self.outside.append(f"connection to {host}")


_WATCH = Watch()
_HOOKED = threading.Event()


@contextlib.contextmanager
def watched(folder: Path, hosts: tuple[str, ...] = ()) -> Iterator[None]:
    """Raise BrokenRule if the block writes outside of `folder`, connects to other hosts, runs a program or hangs."""
    if not _HOOKED.is_set():
        _HOOKED.set()
        sys.addaudithook(_WATCH.hook)  # cannot be removed again
    _WATCH.folder, _WATCH.hosts, _WATCH.outside, _WATCH.active = folder.resolve(), hosts, [], True

    def alarm(*_: object) -> None:
        raise Hang

    previous = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    started = time.monotonic()
    try:
        yield
    except Hang:
        raise BrokenRule(f"hang: longer than {SECONDS} s ({time.monotonic() - started:.0f} s)") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        _WATCH.active = False
    if _WATCH.outside:
        raise BrokenRule(f"outside: {_WATCH.outside[0]}")


def command(*words: object) -> bool:
    """Run `srgan WORDS` in this process and return whether it succeeded; raise BrokenRule if it breaks the rule."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = app.main([str(w) for w in words])
        except SystemExit as stop:
            code = stop.code
    return _kept(code, err.getvalue())


def call(function: Callable[[], object]) -> bool:
    """Call a function as a command would; return whether it succeeded; raise BrokenRule if it breaks the rule."""
    err = io.StringIO()
    try:
        function()
    except Exception as error:
        with contextlib.redirect_stderr(err):
            return _kept(failed(error), err.getvalue())
    return True


def _kept(code: object, said: str) -> bool:
    lines = [line for line in said.splitlines() if line.startswith("error")]
    if "Traceback" in said:
        raise BrokenRule(f"traceback: {' | '.join(said.strip().splitlines()[-6:])}"[:1500])
    if code == 0:
        return True
    if code not in (1, 2) or len(lines) != 1 or len(lines[0]) > 3000:
        raise BrokenRule(f"exit code {code}, {len(lines)} error lines: {said[-300:]!r}")
    return False


def describe(error: BaseException) -> str:
    return str(error) if isinstance(error, BrokenRule) else "".join(traceback.format_exception(error))[-1500:]
