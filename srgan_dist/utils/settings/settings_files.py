"""Files of settings, in YAML or JSON: reading, adding defaults, and errors that name the line."""

from collections.abc import Collection
from typing import Any

from srgan_dist.utils.serialization import InvalidConfigError
from srgan_dist.utils.settings.meant_names import hint
from srgan_dist.utils.settings.yaml_lines import line_of, repeated_key
from srgan_dist.utils.untrusted import parse_yaml


def parse_settings(content: bytes, most_bytes: int) -> dict[str, Any]:
    """Parse YAML or JSON; see `parse_yaml`.

    Raises:
        ValueError: If the content is not valid, or contains a key twice.
    """
    settings = parse_yaml(content, most_bytes)  # JSON is YAML
    if repeated := repeated_key(content):
        raise ValueError(f"line {repeated[1]}: {repeated[0][:80]!r} has been set in this section before")
    return settings


def merged(base: Any, settings: Any, sections: Collection[str], prefix: str = "") -> Any:
    """Return settings with the values of `base` that they lack. A section of another `type` replaces that of `base`.

    Args:
        base: Nested dictionaries.
        settings: Nested dictionaries.
        sections: Dotted names of the sections that cannot be None. If all lines of one are commented out, YAML reads
            None for it, which changes nothing.
        prefix: Dotted name of the section that is merged, and a dot.
    """
    if not isinstance(settings, dict):
        return settings
    is_same = isinstance(base, dict) and settings.get("type", base.get("type")) == base.get("type")
    known: dict[str, Any] = dict(base) if is_same else {}  # pyright: ignore[reportUnknownArgumentType]
    given = {k: v for k, v in settings.items() if v is not None or prefix + k not in sections}
    return known | {k: merged(known.get(k), v, sections, f"{prefix}{k}.") for k, v in given.items()}


def explain(error: InvalidConfigError, content: bytes, names: Collection[str]) -> str:
    """Return what is wrong in a file, and the line: `, line 3: unknown key 'bacth' in data; did you mean data.batch?`

    Args:
        error: The error.
        content: The content of the file.
        names: Dotted names of all settings.
    """
    line = line_of(content, error.path)
    place = f", line {line}: " if line else ": "
    if not error.unknown_key:
        return place + error.reason
    section = ".".join(map(str, error.path[:-1]))
    inside = [n for n in names if n.startswith(section and f"{section}.")]
    sections = {n.partition(".")[0] for n in inside if not section} - set(names)
    found = hint(error.unknown_key, [*inside, *sections]) or hint(error.unknown_key, names)
    meant = f"; did you mean {' or '.join(found[:3])}?" if found else ""
    return f"{place}unknown key {error.unknown_key[:80]!r}{f' in {section}' if section else ''}{meant}"
