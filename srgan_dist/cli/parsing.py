"""Parsing of dataclasses from the command line. Only this module imports tyro; it does not load torch."""

import dataclasses
import difflib
import functools
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
"""Marks a field as a positional argument: `Positional[Path]`."""

_MARKS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
_COMMAND_MARKS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
"""Booleans of commands are flags (--overwrite). Those of training runs take a value (--deterministic=True), so that the
command line can also turn off what a saved configuration turns on."""


def parse(kind: type[T], args: Sequence[str], prog: str, default: T | None = None) -> T:
    """Return a dataclass with the values from the command line.

    Flags that had another name in an earlier version are accepted.

    Args:
        kind: The dataclass.
        args: The command line, without the program's name.
        prog: The program's name in the help text.
        default: The values of fields that the command line does not set; by default those of `kind`.

    Raises:
        SystemExit: With code 0 after the help text, or with code 2 after a usage error.
    """
    args = [_with_current_name(arg) for arg in args]
    try:
        if default is None:
            return tyro.cli(kind, prog=prog, args=list(args), config=_COMMAND_MARKS)
        default, args = _apply_choices(default, args, prog)
        return tyro.cli(kind, prog=prog, args=list(args), config=_MARKS, default=default)
    except SystemExit as stop:
        if stop.code == WRONG_USAGE and default is not None:
            _suggest(args, _names(default))
        raise


def _with_current_name(arg: str) -> str:
    """Return an argument with the flag's current name, if it had another one in an earlier version."""
    flag, equals, value = arg.partition("=")
    name = current_name(flag.removeprefix("--").replace("-", "_"))
    if not flag.startswith("--") or name == flag[2:].replace("-", "_"):
        return arg
    return f"--{name.replace('_', '-')}{equals}{value}"


def _apply_choices(default: T, args: Sequence[str], prog: str) -> tuple[T, list[str]]:
    try:
        return choose(default, args)
    except ValueError as error:
        sys.stderr.write(f"{prog}: error: {error}\n")
        raise SystemExit(WRONG_USAGE) from None


def parse_pair(first: type[T], second: type[U], args: Sequence[str], prog: str) -> tuple[T, U]:
    """Return two dataclasses with the values from one command line, without prefixes for their flags; see `parse`."""
    both: Any = tuple[first, second]  # pyright: ignore
    return tyro.cli(both, prog=prog, args=list(args), config=(tyro.conf.OmitArgPrefixes, *_COMMAND_MARKS))


def _names(config: object, prefix: str = "") -> list[str]:
    """Return the dotted names of the fields of a dataclass, including nested ones."""
    found: list[str] = []
    for f in dataclasses.fields(config):  # pyright: ignore[reportArgumentType]
        value = getattr(config, f.name)
        found += _names(value, f"{prefix}{f.name}.") if dataclasses.is_dataclass(value) else [prefix + f.name]
    return found


def _suggest(args: Sequence[str], names: list[str]) -> None:
    """Write a hint to stderr if a flag lacks its group, such as --batch for --data.batch."""
    known = {name.replace("_", "-") for name in names}
    leaves = {name.rsplit(".", 1)[-1]: name for name in known}
    for arg in (a.removeprefix("--").split("=")[0] for a in args if a.startswith("--")):
        if arg not in known and (close := difflib.get_close_matches(arg, leaves, n=1)):
            sys.stderr.write(f"error: --{arg}: did you mean --{leaves[close[0]]}?\n")


def choose(default: T, args: Sequence[str]) -> tuple[T, list[str]]:
    """Apply the flags that choose classes of unions, and return the new default and the remaining arguments.

    `--generator.type rrdbnet` selects that class with its default values. If `default` has that class already, its
    values are kept. `--generator.spandrel FILE` selects a class that has one field without a default. A flag of a field
    of the only class, `--loss.content.network vgg16`, selects that class if there is none.

    Raises:
        ValueError: If there is no such class, or the value of its required field is missing.
    """
    rest: list[str] = []
    queue, chosen = list(args), set[str]()
    while queue:
        arg = queue.pop(0)
        path, wanted = _choice(default, arg)
        if not path:
            rest.append(arg)
            continue
        chosen.add(".".join(path))
        flag, _, value = arg.partition("=")
        values = [value] if value else []
        if wanted is None:
            wanted = values.pop() if values else queue.pop(0) if queue else ""
        elif not values and _required_fields(find(_hint(default, path), wanted, flag)) and queue:
            values = [queue.pop(0)]
        default = _replace(default, path, find(_hint(default, path), wanted, flag), values, flag)
    for arg in rest:
        default = _with_missing_sections(default, arg, chosen)
    return default, rest


def _with_missing_sections(default: T, arg: str, chosen: set[str]) -> T:
    """Return `default` with the only class of an optional section that is None although a flag sets one of its fields.

    Args:
        default: The configuration.
        arg: One argument of the command line.
        chosen: Sections for which the command line chooses a class itself, or none.
    """
    path = arg.removeprefix("--").partition("=")[0].replace("-", "_").split(".")
    for end in range(1, len(path)) if arg.startswith("--") else ():
        section, kinds = path[:end], members(_hint(default, path[:end]))
        is_missing = len(kinds) == 1 and functools.reduce(getattr, section, default) is None
        if (
            is_missing
            and ".".join(section) not in chosen
            and path[end] in {f.name for f in dataclasses.fields(kinds[0])}
        ):
            default = _replace(default, section, kinds[0], [], arg)
    return default


def _choice(default: Any, arg: str) -> tuple[list[str], str | None]:
    """Return the path of the union field that a flag selects a class for, and the class's tag if the flag contains it.

    The path is empty for all other arguments.
    """
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
    """Return the declared type of the field at `path`, or None if there is no such field."""
    *above, last = path
    for name in above:
        owner = getattr(owner, name, None)
    return get_type_hints(type(owner)).get(last) if dataclasses.is_dataclass(owner) else None


def _required_fields(kind: type | None) -> list[str]:
    missing = dataclasses.MISSING
    fields = dataclasses.fields(kind) if kind else ()
    return [f.name for f in fields if f.default is missing and f.default_factory is missing]


def _replace(owner: Any, path: Sequence[str], kind: type | None, values: Sequence[str], flag: str) -> Any:
    name, *below = path
    current = getattr(owner, name)
    if below:
        return dataclasses.replace(owner, **{name: _replace(current, below, kind, values, flag)})
    required = _required_fields(kind)
    if kind is not None and type(current) is kind and not values:
        return owner
    if len(required) != len(values):
        where = f"--{'.'.join(path)}.{tag(kind)} VALUE" if kind else flag
        raise ValueError(f"{flag}: needs {', '.join(required) or 'no value'}; write {where}")
    hints = get_type_hints(kind) if kind else {}
    chosen = kind(**{f: hints[f](v) for f, v in zip(required, values, strict=True)}) if kind else None
    return dataclasses.replace(owner, **{name: chosen})
