"""Exit codes, one-line errors and lists of names: what every command shows alike."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import NamedTuple

from srgan_dist.distributed.group import AgreedError, Group, ProgressFn
from srgan_dist.distributed.launcher import exit_process, exit_when_launcher_dies
from srgan_dist.distributed.precision import MixedPrecision, Precision

FAILED, WRONG_USAGE, STOPPED = 1, 2, 75


class Processes(NamedTuple):
    """The processes that a launcher started for a command, this one among them."""

    group: Group
    progress: ProgressFn
    device: str
    precision: Precision

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.group.rank == 0


def join_processes(precision: MixedPrecision = "no") -> Processes:
    """Joins the other processes of a command that shares its images out over them.

    Raises:
        ValueError: the launcher promised other processes than those that are there.
    """
    from srgan_dist.distributed.accelerator import AcceleratorGroup, precision_of, start
    from srgan_dist.utils.progress import progress_bar, start_logging

    accelerator = start(precision, timeout_hours=24)
    start_logging(accelerator.is_main_process)
    return Processes(AcceleratorGroup(accelerator), progress_bar, str(accelerator.device), precision_of(accelerator))


def guarded(run: Callable[[], int]) -> int:
    """The command's exit code; where it fails, 1, with one line for the user's errors.

    Among several processes this one ends here.
    """
    exit_when_launcher_dies()
    try:
        return exit_process(run())
    except Exception as error:
        return exit_process(failed(error))


def failed(error: BaseException) -> int:
    """Shows an error and returns its exit code.

    A ValueError of this package is for the user; anything else is a bug and shows where it is.
    """
    if isinstance(error, ValueError) and _is_ours(error):
        rank = os.environ.get("RANK", "0")
        if isinstance(error, AgreedError) and rank != "0":
            return FAILED
        who = "error" if rank == "0" else f"error on process {rank}"
        sys.stderr.write(f"{who}: {error.args[0]}\n")
    else:
        traceback.print_exception(error)
    return FAILED


def _is_ours(error: ValueError) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith("srgan_dist")


def show_list(usage: str, title: str, rows: dict[str, str], hint: str) -> int:
    """Prints a help text that is a list of names with a line each; returns exit code 0."""
    width = max(map(len, rows))
    lines = [usage, "", f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in rows.items()), "", hint]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def unknown(kind: str, name: str, known: Iterable[str]) -> int:
    """Says that there is no such name, with the nearest that there is; returns the exit code."""
    known = list(known)
    close = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    sys.stderr.write(f"error: there is no {kind} {name!r}; {hint}\n")
    return WRONG_USAGE
