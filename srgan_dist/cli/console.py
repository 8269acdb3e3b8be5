"""What all commands share: joining processes, exit codes, one-line errors and menus."""

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from srgan_dist.cli.wrapping import two_columns, wrapped
from srgan_dist.distributed.group import AgreedError, Group, ProgressFn, SingleProcess, no_progress
from srgan_dist.distributed.launcher import exit_process, exit_when_launcher_dies
from srgan_dist.distributed.precision import MixedPrecision, Precision
from srgan_dist.utils.files import FULL_DISK
from srgan_dist.utils.terminal import (
    close_streams,
    lines_of,
    open_streams,
    printable,
    write_error,
    write_out,
)
from srgan_dist.utils.usage import UsageError

FAILED, WRONG_USAGE, STOPPED, INTERRUPTED = 1, 2, 75, 130
"""Exit codes. A run that was stopped with a checkpoint exits with 75, which is EX_TEMPFAIL: run it again."""


class Processes(NamedTuple):
    """The processes that a launcher started for a command, including this one."""

    group: Group
    progress: ProgressFn
    """Shows a progress bar on the first process, and nothing on the others."""
    device: str
    """The torch device of this process."""
    precision: Precision
    """The precision that networks compute in."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints results."""
        return self.group.rank == 0


def join_processes(precision: MixedPrecision = "no", *, computes: bool = True) -> Processes:
    """Join the processes that a launcher started for a command, and start logging.

    Args:
        precision: The precision that networks compute in.
        computes: Whether the command runs networks. If not, torch is only loaded to synchronize several processes.

    Raises:
        ValueError: If the processes do not match the launcher's settings.
    """
    from srgan_dist.utils.progress import progress_bar, start_logging

    if not computes and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        start_logging(True)
        return Processes(SingleProcess(), progress_bar, "cpu", "no")
    from srgan_dist.distributed.accelerator import AcceleratorGroup, precision_of, start

    accelerator = start(precision, timeout_hours=24)
    start_logging(accelerator.is_main_process)
    return Processes(
        AcceleratorGroup(accelerator),
        progress_bar if accelerator.is_main_process else no_progress,
        str(accelerator.device),
        precision_of(accelerator),
    )


def guarded(run: Callable[[], int]) -> int:
    """Run a command and return its exit code, or show its error and return that of `failed`.

    If there are several processes, this one exits here.
    """
    exit_when_launcher_dies()
    try:
        return exit_process(run())
    except KeyboardInterrupt:
        write_error("interrupted\n")
        return exit_process(INTERRUPTED)
    except Exception as error:
        return exit_process(failed(error))


def run_program(run: Callable[[], int]) -> int:
    """Run the program with standard streams that may be closed, full or left by their reader; return the exit code."""
    open_streams()
    try:
        return close_streams(run())
    except SystemExit as request:  # after a help text
        code = request.code if isinstance(request.code, int) else int(request.code is not None)
        raise SystemExit(close_streams(code)) from None
    except Exception as error:
        return close_streams(failed(error))


def failed(error: BaseException) -> int:
    """Write an error to stderr and return the exit code: 2 for a UsageError, 1 for all others.

    A ValueError that this package raises is a user error, and so is a file or disk that cannot be used: they are shown
    on one line. Anything else is a bug, and is shown with its traceback.
    """
    lines = _user_error(error)
    if not lines:
        write_error("".join(traceback.format_exception(error)))
        return FAILED
    rank = os.environ.get("RANK", "0")
    if not isinstance(error, AgreedError) or rank == "0":
        prefix = "error" if rank == "0" else f"error on process {rank}"
        write_error(f"{prefix}: " + "\n".join(map(printable, lines)) + "\n")
    return WRONG_USAGE if isinstance(error, UsageError) else FAILED


def _user_error(error: BaseException) -> tuple[str, ...]:
    """Return the lines of a user error; none if the error is a bug."""
    if isinstance(error, OSError) and error.errno and (error.filename is not None or error.errno in FULL_DISK):
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
        hint = "; make room, then run the same command again" if error.errno in FULL_DISK else ""
        return (f"{name}{error.strerror}{hint}",)
    return lines_of(error) if isinstance(error, ValueError) and _raised_by_package(error) else ()


def _raised_by_package(error: ValueError) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith("srgan_dist")


class Menu(NamedTuple):
    """The choices for the first argument: commands, presets, sources or actions."""

    usage: str
    """First line of the help text."""
    kind: str
    """Singular noun for a choice, such as "command"."""
    rows: Mapping[str, str]
    """Choices and their descriptions."""
    hint: str
    """Last line of the help text."""
    files: str = ""
    """What to write instead if the first argument is a file or a folder, with `{}` in its place."""

    def answer(self, args: Sequence[str]) -> int | None:
        """Print the help text, or an error if the first argument is not a choice, and return the exit code.

        Return None if the first argument is a choice.
        """
        if args and args[0] in ("-h", "--help", "--help-all", "help"):
            return show_list(self.usage, f"{self.kind}s", self.rows, self.hint)
        if not args:
            show_list(self.usage, f"{self.kind}s", self.rows, self.hint)
            write_error(f"error: {self.kind.upper()} is missing\n")
            return WRONG_USAGE
        return None if args[0] in self.rows else self._refuse(args[0])

    def _refuse(self, name: str) -> int:
        """Write an error with what was probably meant to stderr, and return the exit code 2."""
        if name.startswith("-"):
            write_error(f"error: the {self.kind} comes before {printable(name)}; {self.usage.splitlines()[0]}\n")
            return WRONG_USAGE
        close = get_close_matches(name, list(self.rows), n=1, cutoff=0.5)
        if self.files and os.path.exists(name):
            hint = f"did you mean {self.files.format(printable(name))}?"
        else:
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(self.rows)}"
        write_error(f"error: there is no {self.kind} {name!r}; {hint}\n")
        return WRONG_USAGE


def show_list(usage: str, title: str, rows: Mapping[str, str], hint: str) -> int:
    """Print a help text with a list of names and their descriptions, and return the exit code 0."""
    lines = [*wrapped(usage, later_indent="  "), "", f"{title}:", *two_columns(rows), "", *wrapped(hint)]
    write_out("\n".join(lines) + "\n")
    return 0
