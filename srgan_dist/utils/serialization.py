"""Conversion of config dataclasses to and from plain JSON values. Only this module imports cattrs."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args

import cattrs

from srgan_dist.utils import unions
from srgan_dist.utils.unions import nearest

T = TypeVar("T")


def to_dict(config: object, kind: Any = None) -> dict[str, Any]:
    """Return a config as plain JSON values. A member of a union is tagged with `type`; see `unions.tag`.

    Args:
        config: A dataclass.
        kind: The union that `config` itself belongs to, if it is to be tagged.
    """
    return _converter().unstructure(config, unstructure_as=kind)


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
        ValueError: If a key is unknown, a value has the wrong type, or a `type` is not in its union.
    """
    try:
        return _converter().structure(content, kind)
    except Exception as error:
        unknown = next((e for e in _leaves(error) if isinstance(e, cattrs.ForbiddenExtraKeysError)), None)
        if unknown:
            key = min(unknown.extra_fields)
            hint = nearest(key, [f.name for f in fields(unknown.cl)])
            raise ValueError(f"unknown key {key[:80]!r}{hint}") from None
        reason = " ".join(cattrs.transform_error(error, format_exception=_describe)[0].split())[:500]
        name = getattr(kind, "__name__", "section")
        raise ValueError(f"not a valid {name}: {reason}") from None


def _describe(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, unions.UnknownChoiceError) else cattrs.v.format_exception(error, kind)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in nested exception groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    converter.register_structure_hook(float, lambda value, _: float(value))
    converter.register_unstructure_hook_factory(_is_choice, lambda _: lambda value: _tagged(converter, value))
    converter.register_structure_hook_func(_is_choice, lambda value, kind: _untagged(converter, value, kind))
    return converter


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
