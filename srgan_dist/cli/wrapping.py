"""Lines that fit the terminal."""

import shutil
import textwrap
from collections.abc import Mapping

_NARROWEST, _WIDEST = 40, 100
_NARROWEST_TEXT = 30
NO_BREAK = "\xa0"
"""Stands for a space at which a line must not end."""


def wrapped(text: str, indent: str = "", later_indent: str = "") -> list[str]:
    """Return a text as lines that fit the terminal; a word that is longer than a line stays complete.

    Args:
        text: The text.
        indent: What the first line starts with.
        later_indent: What the other lines start with.
    """
    lines = textwrap.wrap(
        text, _width(), initial_indent=indent, subsequent_indent=later_indent,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return [line.replace(NO_BREAK, " ") for line in lines]


def two_columns(rows: Mapping[str, str]) -> list[str]:
    """Return names with their descriptions beside them, or below them where the terminal is too narrow for both."""
    column = max(map(len, rows)) + 4
    if _width() - column < _NARROWEST_TEXT:
        return [line for name, text in rows.items() for line in (f"  {name}", *wrapped(text, "      ", "      "))]
    return [line for name, text in rows.items() for line in wrapped(text, f"  {name}".ljust(column), " " * column)]


def _width() -> int:
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST) - 1
