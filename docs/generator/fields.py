"""Fields of configuration classes: their flags, types, defaults and descriptions."""

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from srgan_dist.cli.parsing import Positional
from srgan_dist.utils.unions import members

_WORDS = {int: "integer", float: "number", str: "text", Path: "path", bool: "`True`, `False`"}


class Row(NamedTuple):
    """A field that takes a value on the command line."""

    name: str
    """Dotted name, such as `data.hr_crop`."""
    kind: Any
    """Declared type."""
    default: Any
    """Default value, or `dataclasses.MISSING`."""
    text: str
    """Description, one paragraph."""
    positional: bool = False
    """Whether the value is an argument without a flag."""

    @property
    def flag(self) -> str:
        """The flag of the command line: `--data.hr-crop`."""
        return f"--{self.name.replace('_', '-')}"


def rows(kind: type, default: Any = None, prefix: str = "") -> Iterator[Row]:
    """Yield the fields of a dataclass that are not sections of their own.

    Args:
        kind: The dataclass.
        default: An instance with the defaults; by default those that the class declares.
        prefix: Dotted name of the section, with a dot at the end.
    """
    hints, texts = get_type_hints(kind, include_extras=True), descriptions(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if not is_section(hint):
            value = getattr(default, field.name) if default is not None else _declared(field)
            yield Row(prefix + field.name, plain(hint), value, texts.get(field.name, ""), is_positional(hint))


def sections(kind: type) -> Iterator[tuple[str, Any, str]]:
    """Yield name, declared type and description of the fields of a dataclass that are dataclasses or unions of them."""
    hints, texts = get_type_hints(kind), descriptions(kind)
    for field in dataclasses.fields(kind):
        if is_section(hints[field.name]):
            yield field.name, hints[field.name], texts.get(field.name, "")


def is_section(hint: Any) -> bool:
    """Return whether a type is a dataclass, or a union of dataclasses."""
    return dataclasses.is_dataclass(hint) or bool(members(hint))


def plain(hint: Any) -> Any:
    """Return a type without its annotations."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def is_positional(hint: Any) -> bool:
    """Return whether a type is annotated as a positional argument."""
    marks = get_args(Positional[int])[1:]
    return get_origin(hint) is Annotated and any(mark in marks for mark in get_args(hint)[1:])


def _declared(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@functools.cache
def descriptions(kind: type) -> dict[str, str]:
    """Return the docstrings of the fields of a dataclass, including inherited ones."""
    found: dict[str, str] = {}
    for owner in reversed([c for c in kind.__mro__ if dataclasses.is_dataclass(c)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body  # pyright: ignore
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(ast.literal_eval(text.value).split())  # pyright: ignore
    return found


def summary(kind: type) -> str:
    """Return the first paragraph of the docstring of a class."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def words(hint: Any) -> str:
    """Return a type as a reader sees it: `integer`, or the choices of a literal."""
    if hint in _WORDS:
        return _WORDS[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in args)
    if origin in (Union, types.UnionType):
        return ", ".join("`None`" if a is type(None) else words(a) for a in args)
    if origin is tuple and args[-1] is Ellipsis:
        return f"{words(args[0])}; several"
    if origin is tuple:
        return " and ".join(map(words, args)) if len(set(args)) > 1 else f"{len(args)} x {words(args[0])}"
    return getattr(hint, "__name__", str(hint))


def values(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, (tuple, list)):
        return " ".join(map(values, value))
    return repr(value) if isinstance(value, float) else str(value)


def shown(value: Any) -> str:
    """Return a default value as it is written in a table."""
    if value is dataclasses.MISSING:
        return "required"
    text = values(value)
    return f"`{text}`" if text else "none"
