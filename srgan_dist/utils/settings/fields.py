"""The fields of dataclasses with their types, defaults and docstrings, for help texts, templates and documentation."""

import ast
import dataclasses
import functools
import inspect
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from srgan_dist.utils.unions import members, tag

REQUIRED = dataclasses.MISSING
"""The default of a field that has none."""


class Field(NamedTuple):
    """A field of a dataclass, or of a dataclass inside it."""

    name: str
    """Dotted name, such as `data.hr_crop`."""
    kind: Any
    """Type, such as `int | None`."""
    default: Any
    """Value, or REQUIRED."""
    help: str
    """Docstring as one paragraph."""
    choice: str = ""
    """The class of a union that the field belongs to, such as `generator.type=rrdbnet`; empty for all other fields."""

    @property
    def section(self) -> str:
        """The name without its last part: `data` for `data.hr_crop`."""
        return self.name.rpartition(".")[0]

    @property
    def type(self) -> str:
        """The type as text; see `type_text`."""
        return type_text(self.kind)

    @property
    def default_text(self) -> str:
        """The default as one writes it on the command line; empty for a field that is required or has no items."""
        return "" if self.default is REQUIRED else value_text(self.default)


def fields_of(kind: type) -> list[Field]:
    """Return the fields of a dataclass, without those of dataclasses inside it."""
    hints, docs = get_type_hints(kind, include_extras=True), docstrings(kind)
    return [Field(f.name, hints[f.name], _default(f), docs.get(f.name, "")) for f in dataclasses.fields(kind)]


def leaves(config: object, prefix: str = "") -> Iterator[Field]:
    """Yield the fields of a dataclass with their values as defaults, including those of dataclasses inside it."""
    for field in fields_of(type(config)):
        value = getattr(config, field.name)
        name = prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{name}.")
        else:
            yield field._replace(name=name, default=value)


def every_leaf(config: object, prefix: str = "", choice: str = "") -> Iterator[Field]:
    """Yield the same as `leaves`, and for each union also `NAME.type` and the fields of its other classes."""
    for field in fields_of(type(config)):
        value, name = getattr(config, field.name), prefix + field.name
        kinds, optional = members(field.kind), without_none(field.kind)[1]
        if kinds and (len(kinds) > 1 or optional):
            yield field._replace(name=f"{name}.type", default=tag(type(value)) if value else None, choice=choice)
            own = [value] if value else []
            for member in [*own, *(k for k in kinds if type(value) is not k)]:
                at = f"{name}.type={tag(member if isinstance(member, type) else type(member))}"
                yield from _members_of(member, f"{name}.", at)
        elif dataclasses.is_dataclass(value):
            yield from every_leaf(value, f"{name}.", choice)
        else:
            yield field._replace(name=name, default=value, choice=choice)


def required_sections(config: object) -> set[str]:
    """Return the dotted names of the dataclasses inside a dataclass that cannot be None."""
    fields = list(every_leaf(config))
    optional = {f.section for f in fields if f.name.endswith(".type") and without_none(f.kind)[1]}
    return {f.section for f in fields} - optional - {""}


def _members_of(member: Any, prefix: str, choice: str) -> Iterator[Field]:
    if not isinstance(member, type):
        yield from every_leaf(member, prefix, choice)
        return
    for field in fields_of(member):
        if dataclasses.is_dataclass(field.default):
            yield from every_leaf(field.default, f"{prefix}{field.name}.", choice)
        else:
            yield field._replace(name=prefix + field.name, choice=choice)


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is REQUIRED else field.default_factory()


@functools.cache
def docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings below the fields of a dataclass, each as one paragraph, including inherited fields."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if dataclasses.is_dataclass(owner):
            found |= _own_docstrings(owner)
    return found


def _own_docstrings(kind: type) -> dict[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError, SyntaxError):  # no source, as in a frozen program
        return {}
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for line, below in zip(body.body, body.body[1:], strict=False):
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[line.target.id] = " ".join(str(below.value.value).split())
    return found


def plain(kind: Any) -> Any:
    """Return a type without its annotations."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def without_none(kind: Any) -> tuple[Any, bool]:
    """Return an optional type without None, and whether it was optional."""
    kind = plain(kind)
    if get_origin(kind) not in (Union, types.UnionType):
        return kind, False
    kinds = [k for k in get_args(kind) if k is not type(None)]
    return (Union[tuple(kinds)], len(kinds) < len(get_args(kind)))  # noqa: UP007


_WORDS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", bool: "True|False"}


def type_text(kind: Any) -> str:
    """Return a type as text: `INT`, `PATH`, `l1|mse`, `FLOAT|None`, `TEXT...` for a list, `INT INT` for a pair."""
    kind, optional = without_none(kind)
    suffix = "|None" if optional else ""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return tag(kind) + suffix
    if classes := members(kind):
        return "|".join(map(tag, classes)) + suffix
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind))) + suffix
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if parts[-1] is Ellipsis:
            inner = type_text(parts[0])
            return ("NAME FLOAT" if len(inner) > 100 else inner) + "..."
        return " ".join(map(type_text, parts)) + suffix
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)).upper()) + suffix


def value_text(value: Any) -> str:
    """Return a value as one writes it on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(value_text, value))  # pyright: ignore[reportUnknownArgumentType]
    return str(value)
