"""Flags that choose the class of a section: `--generator.type rrdbnet`."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, TypeVar, get_type_hints

from srgan_dist.utils.settings.fields import type_text
from srgan_dist.utils.unions import UnknownChoiceError, find, members, tag
from srgan_dist.utils.usage import UsageError

T = TypeVar("T")


def choose(default: T, args: Sequence[str]) -> tuple[T, list[str]]:
    """Apply the flags that choose classes of unions, and return the new default and the remaining arguments.

    `--generator.type rrdbnet` selects that class with its default values. If `default` has that class already, its
    values are kept. `--generator.spandrel FILE` selects a class that has one field without a default. A flag of a field
    of the only class, `--loss.content.network vgg16`, selects that class if there is none.

    Raises:
        UsageError: If there is no such class, or the value of its required field is missing.
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
            wanted = values.pop() if values else queue.pop(0) if queue and not queue[0].startswith("-") else ""
        elif not values and _required_fields(_find(_hint(default, path), wanted, flag)) and queue:
            values = [queue.pop(0)]
        default = _replace(default, path, _find(_hint(default, path), wanted, flag), values, flag)
    for arg in rest:
        default = _with_missing_sections(default, arg, chosen)
    return default, rest


def _find(union: Any, wanted: str, flag: str) -> type | None:
    if not wanted:
        raise UsageError(f"{flag} needs a value: {type_text(union)}")
    try:
        return find(union, wanted, flag)
    except UnknownChoiceError as error:
        raise UsageError(str(error)) from None


def _with_missing_sections(default: T, arg: str, chosen: set[str]) -> T:
    """Return `default` with the only class of an optional section that is None although a flag sets one of its fields.

    If all others are derived from the first class, it is that one.

    Args:
        default: The configuration.
        arg: One argument of the command line.
        chosen: Sections for which the command line chooses a class itself, or none.
    """
    path = arg.removeprefix("--").partition("=")[0].replace("-", "_").split(".")
    for end in range(1, len(path)) if arg.startswith("--") else ():
        section, kinds = path[:end], members(_hint(default, path[:end]))
        of_one_kind = bool(kinds) and all(issubclass(k, kinds[0]) for k in kinds)
        is_missing = of_one_kind and functools.reduce(getattr, section, default) is None
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
        raise UsageError(f"{flag}: needs {', '.join(required) or 'no value'}; write {where}")
    hints = get_type_hints(kind) if kind else {}
    chosen = kind(**{f: hints[f](v) for f, v in zip(required, values, strict=True)}) if kind else None
    return dataclasses.replace(owner, **{name: chosen})
