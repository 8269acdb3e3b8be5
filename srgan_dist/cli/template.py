"""A training configuration as commented YAML, to be edited."""

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import yaml

from srgan_dist.utils.serialization import plain
from srgan_dist.utils.settings.fields import Field, every_leaf, fields_of
from srgan_dist.utils.unions import members, tag

_WIDTH = 100


def template(config: object, defaults: object, header: str, active: Collection[str]) -> str:
    """Return a configuration as YAML with a comment above each setting.

    Settings that have their default are commented out, `#seed: 0`, except those in `active` and the types of sections.

    Args:
        config: The configuration.
        defaults: The values that settings have without a file.
        header: Text of the comment at the top.
        active: Dotted names of settings to write in any case.
    """
    known = {(f.name, f.choice): f.default for f in every_leaf(defaults)}
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    return "\n".join([*lines, *_section(config, "", "", known, active)]) + "\n"


def _section(
    config: Any, prefix: str, choice: str, known: Mapping[tuple[str, str], Any], active: Collection[str]
) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    fields = fields_of(type(config))
    for field in (f for f in fields if not _is_section(f, config)):
        value, name = getattr(config, field.name), prefix + field.name
        is_default = known.get((name, choice)) == value and name not in active
        yield from [] if prefix else [""]
        yield from _comment(field.help, indent)
        yield f"{indent}{'#' if is_default else ''}{field.name}: {_yaml(value)}"
    for field in (f for f in fields if _is_section(f, config)):
        value, name, kinds = getattr(config, field.name), prefix + field.name, members(field.kind)
        yield from [] if prefix else [""]
        yield from _comment(field.help, indent)
        if value is None:
            yield from _absent(field.name, kinds, indent)
            continue
        yield f"{indent}{field.name}:"
        if len(kinds) > 1:
            yield f"{indent}  type: {_choices(kinds, type(value))}"
        inner = f"{name}.type={tag(type(value))}" if kinds else choice
        # YAML would read a section without settings as null, which turns an optional section off.
        first = {f"{name}.{fields_of(type(value))[0].name}"} if len(kinds) == 1 else set[str]()
        yield from _section(value, f"{name}.", inner, known, {*active, *first})


def _absent(name: str, kinds: Sequence[type], indent: str) -> Iterator[str]:
    """Yield a section that is None, with what chooses one commented out."""
    if len(kinds) > 1:
        yield f"{indent}#{name}:"
        yield f"{indent}#  type: {_choices(kinds, kinds[0])}"
    else:
        yield f"{indent}{name}: null  # remove this line to use the defaults"


def _is_section(field: Field, config: Any) -> bool:
    return is_dataclass(getattr(config, field.name)) or bool(members(field.kind))


def _choices(kinds: Sequence[type], chosen: type) -> str:
    others = ", ".join(tag(k) for k in kinds if k is not chosen)
    return f"{tag(chosen)}  # or {others}"


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _yaml(value: Any) -> str:
    dumped = yaml.safe_dump(plain(value), default_flow_style=True, width=10_000)
    return dumped.removesuffix("...\n").strip()
