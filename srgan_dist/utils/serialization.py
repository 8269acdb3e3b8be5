"""Conversion of config dataclasses to and from plain JSON values. Only this module imports cattrs."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import cattrs

from srgan_dist.utils import unions
from srgan_dist.utils.settings.plain_values import convert
from srgan_dist.utils.unions import nearest

T = TypeVar("T")


def to_dict(config: object, kind: Any = None) -> dict[str, Any]:
    """Return a config as plain JSON values. A member of a union is tagged with `type`; see `unions.tag`.

    Args:
        config: A dataclass.
        kind: The union that `config` itself belongs to, if it is to be tagged.
    """
    return _converter().unstructure(config, unstructure_as=kind)


def plain(value: object) -> Any:
    """Return the value of a field as a plain JSON value: a tuple as a list, a path as text."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value) if isinstance(value, Path) else value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as a single one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def from_dict(kind: type[T], content: Any) -> T:
    """Return the config that `to_dict` converted to `content`.

    Args:
        kind: The dataclass, or a union of dataclasses.
        content: Plain JSON values.

    Raises:
        InvalidConfigError: If a key is unknown, a value has the wrong type, or a `type` is not in its union.
    """
    try:
        return _converter().structure(content, kind)
    except Exception as error:
        path, reason = _locate(error)
        if isinstance(reason, cattrs.ForbiddenExtraKeysError):
            key = min(reason.extra_fields)
            hint = nearest(key, [f.name for f in fields(reason.cl)])
            raise InvalidConfigError((*path, key), "", f"unknown key {key[:80]!r}{hint}", key) from None
        name = getattr(kind, "__name__", "section")
        at = ".".join(map(str, path))
        text = f"{at}{': ' if at else ''}{' '.join(_describe(reason).split())[:500]}"
        raise InvalidConfigError(path, f"not a valid {name}: ", text) from None


class InvalidConfigError(ValueError):
    """Raised by `from_dict`, with the position of the error."""

    def __init__(self, path: tuple[str | int, ...], prefix: str, reason: str, unknown_key: str = "") -> None:
        super().__init__(prefix + reason)
        self.path = path
        """Keys and indices that lead to the error, including an unknown key."""
        self.reason = reason
        """The message without its prefix, which names the class."""
        self.unknown_key = unknown_key


def _locate(error: BaseException) -> tuple[tuple[str | int, ...], BaseException]:
    """Return the position and the cause of the first error in nested exception groups."""
    path: list[str | int] = []
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        notes: list[Any] = list(reversed(getattr(error, "__notes__", [])))
        path += [n.name if isinstance(n, cattrs.AttributeValidationNote) else n.index for n in notes]
    return tuple(path), error


def _describe(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]!s:.80} is missing"
    return str(error) if isinstance(error, ValueError) else "is not a section of keys and values"


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(Path, str)
    for kind in (int, float, bool, str, Path):
        converter.register_structure_hook(kind, _converted)
    converter.register_structure_hook_func(lambda kind: get_origin(kind) is Literal, _converted)
    converter.register_structure_hook_func(_is_tuple, lambda value, kind: _tuple(converter, value, kind))
    converter.register_unstructure_hook_factory(_is_choice, lambda _: lambda value: _tagged(converter, value))
    converter.register_structure_hook_func(_is_choice, lambda value, kind: _untagged(converter, value, kind))
    return converter


def _converted(value: object, kind: Any) -> Any:
    try:
        return convert(value, kind)
    except ValueError as error:
        raise ValueError(f"{value!r:.80} {error}") from None


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _tuple(converter: cattrs.Converter, value: Any, kind: Any) -> tuple[Any, ...]:
    """Return a list as a tuple. cattrs itself would take the characters of text as its items."""
    parts = get_args(kind)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{value!r:.80} is not a list; write [A, B]")
    kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
    if len(kinds) != len(value):
        raise ValueError(f"a list of {len(value)} values instead of {len(kinds)}")
    items: list[Any] = []
    for index, (item, item_kind) in enumerate(zip(value, kinds, strict=True)):
        try:
            items.append(converter.structure(item, item_kind))
        except Exception as error:
            error.add_note(cattrs.IterableValidationNote(f"item {index}", index, item_kind))
            raise
    return tuple(items)


def _is_choice(kind: Any) -> bool:
    return len(unions.members(kind)) > 1


def _tagged(converter: cattrs.Converter, value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"type": unions.tag(type(value))} | converter.unstructure(value)


def _untagged(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    if value is None and type(None) in get_args(kind):
        return None
    if not isinstance(value, dict):
        raise ValueError(f"expected a section with a type: {', '.join(map(unions.tag, unions.members(kind)))}")
    content: dict[str, Any] = dict(value)  # pyright: ignore[reportUnknownArgumentType]
    chosen = unions.find(kind, content.pop("type", unions.tag(unions.members(kind)[0])), "type")
    return converter.structure(content, chosen) if chosen else None
