"""Strict conversion of single values from the command line and from config files: nothing is guessed or rounded."""

import math
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def integer(value: object) -> int:
    """Return an integer: 3, 3.0, "3" or "1e6".

    Raises:
        ValueError: If the value is not an integer.
    """
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = _float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is int:  # a bool is no number here
        return value
    raise ValueError("is not an integer")


def number(value: object) -> float:
    """Return a finite number: 3, 0.5, "1e-4".

    Raises:
        ValueError: If the value is not a number, or is not finite.
    """
    if isinstance(value, str):
        value = _float(value)
    if isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value):
        return float(value)
    raise ValueError("is not a number")


def _float(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def boolean(value: object) -> bool:
    """Return a boolean: True, "true", "yes", "on" or "1", and their opposites.

    Raises:
        ValueError: If the value is none of these.
    """
    word = value.lower() if isinstance(value, str) else ""
    if value is True or word in _TRUE:
        return True
    if value is False or word in _FALSE:
        return False
    raise ValueError("is neither True nor False")


def text(value: object) -> str:
    """Return text.

    Raises:
        ValueError: If the value is not text.
    """
    if not isinstance(value, str):
        raise ValueError("is not text")
    return value


def path(value: object) -> Path:
    """Return a path.

    Raises:
        ValueError: If the value is not text, or is empty.
    """
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError("is not a path")
    return Path(value)


_CONVERSIONS: dict[Any, Callable[[object], Any]] = {int: integer, float: number, bool: boolean, str: text, Path: path}


def convert(value: object, kind: Any) -> Any:
    """Return a value as an int, float, bool, str, Path, or one of the values of a Literal.

    Raises:
        ValueError: If it is not one; the message continues a sentence, such as "is not an integer".
    """
    if get_origin(kind) is not Literal:
        return _CONVERSIONS[kind](value)
    known = get_args(kind)
    value = "no" if value is False else value  # YAML reads the word no as False
    if isinstance(value, (str, int)) and str(value) in map(str, known):
        return next(k for k in known if str(k) == str(value))
    close = get_close_matches(str(value), map(str, known), n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(map(str, known))}"
    raise ValueError(f"is not one of the choices; {hint}")
