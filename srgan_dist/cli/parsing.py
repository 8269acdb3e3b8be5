"""Dataclasses from the command line. Only this module imports tyro; it loads no torch."""

import dataclasses
import difflib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from srgan_dist.cli.console import WRONG_USAGE
from srgan_dist.utils.renamed import current_name
from srgan_dist.utils.unions import find, members, tag

T = TypeVar("T")
U = TypeVar("U")
Positional = Annotated[T, tyro.conf.Positional]
"""Marks a field that is given without a flag: `Positional[Path]`."""

_MARKS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
_COMMAND_MARKS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
"""Commands have real flags (--overwrite); runs have values that a saved configuration can hold either way."""


def parse(kind: type[T], args: Sequence[str], prog: str, default: T | None = None) -> T:
    """A config dataclass from the command line; wrong usage exits with 2 and the nearest names."""
    args = [_with_current_name(arg) for arg in args]
    try:
        if default is None:
            return tyro.cli(kind, prog=prog, args=list(args), config=_COMMAND_MARKS)
        default, args = _chosen(default, args, prog)
        return tyro.cli(kind, prog=prog, args=list(args), config=_MARKS, default=default)
    except SystemExit as stop:
        if stop.code == WRONG_USAGE and default is not None:
            _suggest(args, _names(default))
        raise


def _with_current_name(arg: str) -> str:
    """Return an argument with the present name of a flag that had another one in an earlier version."""
    flag, equals, value = arg.partition("=")
    name = current_name(flag.removeprefix("--").replace("-", "_"))
    if not flag.startswith("--") or name == flag[2:].replace("-", "_"):
        return arg
    return f"--{name.replace('_', '-')}{equals}{value}"


def _chosen(default: T, args: Sequence[str], prog: str) -> tuple[T, list[str]]:
    try:
        return choose(default, args)
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
    for f in dataclasses.fields(config):  # pyright: ignore[reportArgumentType]
        value = getattr(config, f.name)
        found += _names(value, f"{prefix}{f.name}.") if dataclasses.is_dataclass(value) else [prefix + f.name]
    return found


def _suggest(args: Sequence[str], names: list[str]) -> None:
    """Names the flag that was meant where its group was left out: --batch for --data.batch."""
    known = {name.replace("_", "-") for name in names}
    leaves = {name.rsplit(".", 1)[-1]: name for name in known}
    for arg in (a.removeprefix("--").split("=")[0] for a in args if a.startswith("--")):
        if arg not in known and (close := difflib.get_close_matches(arg, leaves, n=1)):
            sys.stderr.write(f"error: --{arg}: did you mean --{leaves[close[0]]}?\n")


def choose(default: T, args: Sequence[str]) -> tuple[T, list[str]]:
    """Takes the choices of classes out of a command line and builds them into `default`.

    `--generator.type rrdbnet` takes that class with its own defaults (or leaves the preset's values where it is that
    class already). `--generator.spandrel FILE` does so for a class with one field that has no default.

    Raises:
        ValueError: no such class, or a class whose required field was not given.
    """
    rest: list[str] = []
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        path, wanted = _choice(default, arg)
        if not path:
            rest.append(arg)
            continue
        flag, _, value = arg.partition("=")
        values = [value] if value else []
        if wanted is None:
            wanted = values.pop() if values else queue.pop(0) if queue else ""
        elif not values and _required(find(_hint(default, path), wanted, flag)) and queue:
            values = [queue.pop(0)]
        default = _replaced(default, path, find(_hint(default, path), wanted, flag), values, flag)
    return default, rest


def _choice(default: Any, arg: str) -> tuple[list[str], str | None]:
    """The path of the union field that a flag chooses for, and the tag if the flag itself names it."""
    path = arg.removeprefix("--").partition("=")[0].replace("-", "_").split(".")
    if not arg.startswith("--") or len(path) < 2:
        return [], None
    hint = _hint(default, path[:-1])
    if hint is None or not members(hint):
        return [], None
    if path[-1] == "type":
        return path[:-1], None
    return (path[:-1], path[-1]) if path[-1] in {tag(k) for k in members(hint)} else ([], None)


def _hint(owner: Any, path: Sequence[str]) -> Any:
    """The declared type of the field at `path`, or None."""
    *above, last = path
    for name in above:
        owner = getattr(owner, name, None)
    return get_type_hints(type(owner)).get(last) if dataclasses.is_dataclass(owner) else None


def _required(kind: type | None) -> list[str]:
    missing = dataclasses.MISSING
    fields = dataclasses.fields(kind) if kind else ()
    return [f.name for f in fields if f.default is missing and f.default_factory is missing]


def _replaced(owner: Any, path: Sequence[str], kind: type | None, values: Sequence[str], flag: str) -> Any:
    name, *below = path
    current = getattr(owner, name)
    if below:
        return dataclasses.replace(owner, **{name: _replaced(current, below, kind, values, flag)})
    required = _required(kind)
    if kind is not None and type(current) is kind and not values:
        return owner
    if len(required) != len(values):
        where = f"--{'.'.join(path)}.{tag(kind)} VALUE" if kind else flag
        raise ValueError(f"{flag}: needs {', '.join(required) or 'no value'}; give it as {where}")
    hints = get_type_hints(kind) if kind else {}
    made = kind(**{f: hints[f](v) for f, v in zip(required, values, strict=True)}) if kind else None
    return dataclasses.replace(owner, **{name: made})
