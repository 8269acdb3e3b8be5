"""Choices between classes: the `type` that stands for a class in config files and on the command line."""

import dataclasses
import difflib
import types
from collections.abc import Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_SUFFIXES = ("Config", "Discriminator", "Schedule", "GAN", "Degradation")
NONE = "none"


class UnknownChoiceError(ValueError):
    """No class of the union has this tag."""


def members(kind: Any) -> tuple[type, ...]:
    """The dataclasses that a union chooses from, in its order; none for everything that is not such a union."""
    if get_origin(kind) not in (Union, types.UnionType):
        return ()
    kinds = [k for k in get_args(kind) if k is not type(None)]
    return tuple(kinds) if all(dataclasses.is_dataclass(k) for k in kinds) else ()


def tag(kind: type) -> str:
    """`type` of a class: RRDBNetConfig is rrdbnet, UNetDiscriminatorConfig unet, RelativisticGAN relativistic."""
    name = kind.__name__
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.lower()


def find(kind: Any, wanted: str, where: str) -> type | None:
    """The class of a union with this tag; None for `none`, where the union has it.

    Raises:
        ValueError: there is none; `where` is what the user calls the field.
    """
    tags: dict[str, type | None] = {tag(k): k for k in members(kind)}
    if type(None) in get_args(kind):
        tags[NONE] = None
    if wanted not in tags:
        close = difflib.get_close_matches(wanted, tags, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(tags)}"
        raise UnknownChoiceError(f"{where}: there is no {wanted!r}; {hint}")
    return tags[wanted]


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
