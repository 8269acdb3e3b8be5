"""JSON schemas of config dataclasses, by which editors complete keys, show their descriptions and mark mistakes."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from srgan_dist.utils.serialization import plain
from srgan_dist.utils.settings.fields import REQUIRED, Field, fields_of, without_none
from srgan_dist.utils.unions import members, tag

_TYPES: dict[Any, str] = {int: "integer", float: "number", bool: "boolean", str: "string", Path: "string"}


def json_schema(kind: type, title: str) -> dict[str, Any]:
    """Return the schema (draft 7) of files that set some or all fields of a dataclass.

    No field is required, since a file may set only what differs from the defaults. Unknown keys are refused. A section
    whose lines are all commented out, which YAML reads as null, is accepted.

    Args:
        kind: The dataclass.
        title: Title of the schema.
    """
    definitions: dict[str, Any] = {}
    schema = _section(kind, definitions, is_choice=False)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": title, **schema, "definitions": definitions}


def _section(kind: type, definitions: dict[str, Any], *, is_choice: bool) -> dict[str, Any]:
    properties = {f.name: _described(f, definitions) for f in fields_of(kind)}
    if is_choice:
        properties = {"type": {"const": tag(kind), "description": _first_line(kind)}, **properties}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _first_line(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _described(field: Field, definitions: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": field.help} | _schema(field.kind, definitions)
    is_section = dataclasses.is_dataclass(field.default) or bool(members(field.kind))
    if field.default is REQUIRED or is_section:
        return schema
    return schema | {"default": plain(field.default)}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    kind, optional = without_none(kind)
    classes = members(kind) or ((kind,) if dataclasses.is_dataclass(kind) else ())
    if classes:
        names = [_define(c, definitions, is_choice=len(classes) > 1) for c in classes]
        return {"anyOf": [*({"$ref": f"#/definitions/{name}"} for name in names), {"type": "null"}]}
    schema = _leaf(kind, definitions)
    return {"anyOf": [schema, {"type": "null"}]} if optional else schema


def _define(kind: Any, definitions: dict[str, Any], *, is_choice: bool) -> str:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}
        definitions[name] = _section(kind, definitions, is_choice=is_choice)
    return name


def _leaf(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if get_origin(kind) is not tuple:
        return {"type": _TYPES[kind]}
    parts = get_args(kind)
    if parts[-1] is Ellipsis:
        return {"type": "array", "items": _schema(parts[0], definitions)}
    items = [_schema(part, definitions) for part in parts]
    return {"type": "array", "items": items, "minItems": len(parts), "additionalItems": False}
