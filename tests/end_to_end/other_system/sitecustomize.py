"""Makes Linux behave like Windows as far as that can be imitated; Python runs this file at its start if it finds it.

With this folder on PYTHONPATH, also every child process has no POSIX-only modules, functions and signals, no symbolic
links, and starts processes by spawning. Files that are open or mapped cannot be renamed or removed, names that Windows
does not accept are refused, and a text file of this package that is opened without an encoding is an error.
"""

import builtins
import errno
import functools
import importlib.abc
import multiprocessing.context
import os
import re
import signal
import sys
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

import psutil

MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "curses", "crypt", "spwd")
FUNCTIONS = (
    "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getpgid", "getpgrp", "setsid", "setpgid",
    "killpg", "sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "posix_spawn", "mkfifo",
    "getloadavg", "nice", "chown", "lchown", "fchown", "statvfs", "fstatvfs", "sync", "fdatasync", "pread", "pwrite",
    "memfd_create", "O_DIRECTORY", "O_NOFOLLOW",
)  # fmt: skip
SIGNALS = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGCHLD", "alarm", "setitimer", "pause")
WORK = os.environ.get("OTHER_SYSTEM_WORK", os.getcwd())
"""Below this folder the rules for files apply; the libraries that come with Python and Linux are not our concern."""
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$|^(CON|PRN|AUX|NUL|COM\d|LPT\d) *(\.|$)', re.IGNORECASE)


class _Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        del path, target
        if fullname in MODULES:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def hide_modules() -> None:
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Hidden())


class _Without(types.ModuleType):
    """A module of the standard library without some of its names."""

    def __init__(self, module: types.ModuleType, hidden: tuple[str, ...]) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__["_module"], self.__dict__["_hidden"] = module, frozenset(hidden)

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(self._module, name)

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._module) if name not in self._hidden]


def hide_functions() -> None:
    """Hide them from this package only: other libraries see that this is Linux, and expect what Linux has."""
    original = builtins.__import__
    reduced = {"os": _Without(os, FUNCTIONS), "signal": _Without(signal, SIGNALS)}

    def import_for(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        found = original(name, globals, locals, fromlist, level)
        importer = str((globals or {}).get("__name__", ""))
        return reduced.get(name, found) if importer.partition(".")[0] in ("srgan_dist", "__main__") else found

    builtins.__import__ = import_for
    del os.fork, os.forkpty


def _no_privilege(*paths: Any, **how: Any) -> NoReturn:
    del how
    raise OSError(errno.EPERM, "A required privilege is not held by the client", *paths)


def spawn_only() -> None:
    contexts = {"spawn": multiprocessing.context.SpawnContext()}
    multiprocessing.context._concrete_contexts = contexts
    multiprocessing.context._default_context._default_context = contexts["spawn"]
    multiprocessing.get_all_start_methods = lambda: ["spawn"]


def below_work(path: Any) -> str:
    """The absolute path of a file that the rules apply to, or nothing."""
    try:
        whole = os.path.abspath(os.fsdecode(path))
    except (TypeError, ValueError):  # an open file
        return ""
    return whole if whole.startswith(WORK + os.sep) else ""


def check_names(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what Windows would refuse; an audit hook, which sees also what libraries in C open through Python."""
    if event == "open":
        path, mode, flags = arguments
        paths = [path] if (mode and set(mode) & set("wax+")) or (flags or 0) & (os.O_CREAT | os.O_WRONLY) else []
    elif event in ("os.mkdir", "os.rename", "os.link", "shutil.move", "shutil.copyfile"):
        paths = list(arguments[:2]) if event != "os.mkdir" else [arguments[0]]
    else:
        return
    for whole in filter(None, map(below_work, paths)):
        if bad := [part for part in whole.removeprefix(WORK).split(os.sep) if _FORBIDDEN.search(part)]:
            raise OSError(errno.EINVAL, f"The filename {bad[0]!r} is incorrect on Windows", whole)


def in_use(path: str) -> bool:
    """Whether this process has a file, or one in a folder, open or mapped."""
    me = psutil.Process()
    held = {f.path for f in me.open_files()} | {m.path for m in me.memory_maps(grouped=True)}
    return any(other == path or other.startswith(path + os.sep) for other in held)


def refuse_files_in_use(name: str) -> None:
    original = getattr(os, name)

    @functools.wraps(original)
    def checked(*arguments: Any, **how: Any) -> Any:
        for path in arguments[: 2 if name in ("replace", "rename") else 1]:
            whole = below_work(path) if how.get("dir_fd") is None else ""
            if whole and os.path.lexists(whole) and in_use(whole):
                raise PermissionError(errno.EACCES, "The file is being used by another process", whole)
        return original(*arguments, **how)

    setattr(os, name, checked)


def remove_trees_by_path() -> None:
    """Let shutil remove folders by path, as on Windows, so that the rules above see every file."""
    import shutil

    shutil._use_fd_functions = False
    for name in ("fd_functions", "_use_fd_functions"):
        if hasattr(shutil, name):
            setattr(shutil, name, False)


def warn_of_encodings() -> None:
    warnings.filterwarnings("ignore", category=EncodingWarning)  # of the libraries
    warnings.filterwarnings("error", category=EncodingWarning, module=r"srgan_dist\b")
    warnings.filterwarnings("ignore", message="only soft file lock")  # filelock has no other kind of Windows' here


if sys.platform == "linux":
    hide_functions()
    hide_modules()
    os.symlink = _no_privilege
    Path.symlink_to = _no_privilege
    spawn_only()
    remove_trees_by_path()
    for _name in ("replace", "rename", "unlink", "remove", "rmdir"):
        refuse_files_in_use(_name)
    sys.addaudithook(check_names)
    warn_of_encodings()
