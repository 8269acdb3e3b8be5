"""Checked reading of values that come from files of other people: JSON, its fields, and paths."""

import json
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import yaml

T = TypeVar("T", bound=str)

_LARGEST = 1 << 50
"""Largest integer that is accepted unless a field says otherwise; no file is larger than that many bytes."""
_LONGEST = 1000
"""Longest text that is accepted, in characters, unless a field says otherwise."""
_MOST_VALUES = 10_000
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
"""Names that Windows gives to devices, with any extension."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_json(content: bytes, most_bytes: int) -> dict[str, Any]:
    """Parse a JSON object of limited length and nesting. NaN and Infinity are not accepted.

    Raises:
        ValueError: If the content is too long, nested too deeply, not JSON, or not an object.
    """
    if len(content) > most_bytes:
        raise ValueError(f"larger than the limit of {most_bytes >> 10} KiB")
    try:
        parsed: Any = json.loads(content, parse_constant=_reject_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"a {type(parsed).__name__} instead of an object")
    return parsed  # pyright: ignore[reportUnknownVariableType]


def parse_yaml(content: bytes, most_bytes: int) -> dict[str, Any]:
    """Parse a YAML mapping of limited length and size, with plain values: text, numbers, booleans, lists, mappings.

    Raises:
        ValueError: If the content is too long, not YAML, not such a mapping, or has too many values. Each use of an
            alias counts as all of its values, so that a few lines cannot stand for billions.
    """
    if len(content) > most_bytes:
        raise ValueError(f"larger than the limit of {most_bytes >> 10} KiB")
    try:
        parsed: Any = yaml.safe_load(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(_yaml_error(error)) from None
    except Exception as error:  # about dates and numbers that make no sense, and text that is not UTF-8
        raise ValueError(f"not valid YAML ({error})") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"a {type(parsed).__name__} instead of settings")
    _check_plain(parsed)
    return parsed  # pyright: ignore[reportUnknownVariableType]


def _yaml_error(error: yaml.YAMLError) -> str:
    """Return what is wrong in one line, such as `line 2: not valid YAML: expected ',' or ']'`."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f"not valid YAML: {' '.join(str(error).split())}"
    return f"line {error.problem_mark.line + 1}: not valid YAML: {error.problem}"


def _check_plain(tree: object) -> None:
    """Raise ValueError if a tree has too many values, or others than those of JSON."""
    waiting, count = [tree], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a key is not text")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif value is not None and not isinstance(value, (str, int, float, bool)):
            raise ValueError(f"a value of the type {type(value).__name__}; put text into quotes")


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def integer(d: dict[str, Any], name: str, least: int = 0, most: int = _LARGEST) -> int:
    """Return an integer field of a JSON object.

    Raises:
        ValueError: If the field is missing, is not an integer, or is not between `least` and `most`.
    """
    value = d.get(name)
    if type(value) is not int or not least <= value <= most:  # a bool is no number here
        raise ValueError(f"{name} is {_shown(value)}, not an integer from {least} to {most}")
    return value


def text(d: dict[str, Any], name: str, longest: int = _LONGEST) -> str:
    """Return a text field of a JSON object.

    Raises:
        ValueError: If the field is missing, is not text, or is longer than `longest` characters.
    """
    value = d.get(name)
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{name} is {_shown(value)}, not text of at most {longest} characters")
    return value


def choice(d: dict[str, Any], name: str, known: Collection[T]) -> T:
    """Return a text field of a JSON object that must be one of the known values.

    Raises:
        ValueError: If the field is missing, or its value is not known.
    """
    value = d.get(name)
    for candidate in known:
        if value == candidate:
            return candidate
    raise ValueError(f"{name} is {_shown(value)}, not one of {', '.join(known)}")


def section(d: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a field of a JSON object that must be an object itself.

    Raises:
        ValueError: If the field is missing, or is not an object.
    """
    value = d.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)}, not an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def items(d: dict[str, Any], name: str) -> list[Any]:
    """Return a field of a JSON object that must be a list.

    Raises:
        ValueError: If the field is missing, or is not a list.
    """
    value = d.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} is {_shown(value)}, not a list")
    return value  # pyright: ignore[reportUnknownVariableType]


def sha256(d: dict[str, Any], name: str = "sha256") -> str:
    """Return a field of a JSON object that must be a SHA-256 in lower-case hexadecimal, which is safe in file names.

    Raises:
        ValueError: If the field is missing, or is not 64 hexadecimal digits.
    """
    value = d.get(name)
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{name} is {_shown(value)}, not 64 hexadecimal digits")
    return value


def is_file_name(name: object) -> bool:
    """Return whether a value is a plain file name on every system: no folder, drive, `..` or control character.

    Windows also reserves the names of devices, `:` for drives and streams, and drops dots and spaces at the end.
    """
    if not isinstance(name, str) or not name or not name.isprintable() or len(name.encode(errors="replace")) > 255:
        return False
    if _DEVICE.fullmatch(name) or set(name) & set('<>:"|?*') or name[-1] in ". ":
        return False
    return name not in (".", "..") and PurePosixPath(name).name == name and PureWindowsPath(name).name == name


def path_below(root: Path, name: object, *, follow_links: bool = False) -> Path:
    """Return the path of a file in a folder, from a relative path that a file of other people contains.

    Args:
        root: The folder that the path may not leave.
        name: The relative path, with `/` between folders.
        follow_links: Whether a symbolic link below `root` may lead outside. Only for folders in which the user himself
            made the links, for example to keep large files on another disk.

    Raises:
        ValueError: If the path is absolute, contains `..`, or leads outside of the folder.
    """
    parts = str(name).split("/")
    if not isinstance(name, str) or not all(map(is_file_name, parts)):
        raise ValueError(f"{root}: {_shown(name)} is not the name of a file in this folder")
    path = root.joinpath(*parts)
    if not follow_links and not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path}: leads outside of {root}")
    return path


def _shown(value: object) -> str:
    """Return a value for messages, shortened. Containers are not converted to text, because they may be huge."""
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "too large a number"
    shown = repr(value[:60] if isinstance(value, str) else value)
    return "missing" if value is None else shown
