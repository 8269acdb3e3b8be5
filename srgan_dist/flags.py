"""Dataclasses from the command line. The only home of tyro; light, so that commands without a network start at once."""

import difflib
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar

import tyro

from srgan_dist import choices

T = TypeVar("T")
U = TypeVar("U")
Positional = Annotated[T, tyro.conf.Positional]
"""Marks a field that is given without a flag: `Positional[Path]`."""
WRONG_USAGE = 2

_MARKS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
_COMMAND_MARKS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
"""Commands have real flags (--overwrite); runs have values that a saved configuration can hold either way."""


def nearest(word: str, known: Sequence[str]) -> str:
    """' (did you mean X?)' or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"


def parse(kind: type[T], args: Sequence[str], prog: str, default: T | None = None) -> T:
    """A config dataclass from the command line; wrong usage exits with 2 and the nearest names."""
    try:
        if default is None:
            return tyro.cli(kind, prog=prog, args=list(args), config=_COMMAND_MARKS)
        default, args = _chosen(default, args, prog)
        return tyro.cli(kind, prog=prog, args=list(args), config=_MARKS, default=default)
    except SystemExit as stop:
        if stop.code == WRONG_USAGE and default is not None:
            _suggest(args, _names(default))
        raise


def _chosen(default: T, args: Sequence[str], prog: str) -> tuple[T, list[str]]:
    try:
        return choices.choose(default, args)
    except ValueError as error:
        sys.stderr.write(f"{prog}: error: {error}\n")
        raise SystemExit(WRONG_USAGE) from None


def parse_pair(first: type[T], second: type[U], args: Sequence[str], prog: str) -> tuple[T, U]:
    """Two config dataclasses from one command line, their flags side by side."""
    both: Any = tuple[first, second]  # pyright: ignore
    return tyro.cli(both, prog=prog, args=list(args), config=(tyro.conf.OmitArgPrefixes, *_COMMAND_MARKS))


def _names(config: object, prefix: str = "") -> list[str]:
    """Dotted names of the fields of a dataclass and of those inside it."""
    found: list[str] = []
    for f in fields(config):  # pyright: ignore[reportArgumentType]
        value = getattr(config, f.name)
        found += _names(value, f"{prefix}{f.name}.") if is_dataclass(value) else [prefix + f.name]
    return found


def _suggest(args: Sequence[str], names: list[str]) -> None:
    """Names the flag that was meant where its group was left out: --batch for --data.batch."""
    known = {name.replace("_", "-") for name in names}
    leaves = {name.rsplit(".", 1)[-1]: name for name in known}
    for arg in (a.removeprefix("--").split("=")[0] for a in args if a.startswith("--")):
        if arg not in known and (close := difflib.get_close_matches(arg, leaves, n=1)):
            sys.stderr.write(f"error: --{arg}: did you mean --{leaves[close[0]]}?\n")
