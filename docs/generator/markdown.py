"""Markdown that all generated pages share."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [list(headings), [":--"] * len(headings), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def _cell(text: str) -> str:
    """Return a text for a cell: bars, and asterisks outside of code, stand for themselves."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if i % 2 else part.replace("*", "\\*") for i, part in enumerate(parts))


def page(title: str, command: str, *lines: str) -> str:
    """Return a generated page; a comment at its top names the command that writes it."""
    return "\n".join([f"<!-- Written by `{command}`; do not edit. -->", f"# {title}", "", *lines]).rstrip() + "\n"
