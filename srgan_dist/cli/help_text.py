"""Help texts: the flags that people change most, and all of them by section."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from srgan_dist.cli.wrapping import NO_BREAK, wrapped
from srgan_dist.utils.settings.fields import REQUIRED, Field, every_leaf, fields_of
from srgan_dist.utils.settings.meant_names import as_flag
from srgan_dist.utils.unions import members

HELP, HELP_ALL = ("-h", "--help"), "--help-all"
_MOST_SHOWN = 10
"""A command with at most so many flags shows all of them at once."""


class Section(NamedTuple):
    """Flags that belong together."""

    title: str
    """Heading; empty for the flags of a command itself."""
    fields: Sequence[Field]
    switches: bool = False
    """Whether booleans are shown as flags without a value."""


class HelpText(NamedTuple):
    """What the help text of a command consists of."""

    prog: str
    """The command, such as `srgan upscale`."""
    about: str
    """What it does, in a sentence or two."""
    positional: Field | None
    """The arguments without a flag."""
    sections: Sequence[Section]
    """All flags."""
    common: Sequence[str]
    """Names of the flags that people change most, in the order in which they are shown; none to show all."""

    def render(self, *, everything: bool) -> str:
        """Return the help text.

        Args:
            everything: Whether to show all flags, with their complete descriptions.
        """
        flags = {f.name: (f, s.switches) for s in self.sections for f in s.fields}
        common = [flags[name] for name in self.common if name in flags]
        lines = [self._usage(), "", *wrapped(self.about)]
        if self.positional:
            lines += ["", *_described(self.positional, self.positional.name.upper(), complete=True)]
        if common and len(flags) > _MOST_SHOWN and not everything:
            title = f"The flags that people change most; {self.prog} {HELP_ALL} lists all {len(flags)}:"
            lines += ["", *wrapped(title), *_flags(common, complete=False)]
            return "\n".join(lines) + "\n"
        for section in self.sections:
            title = f"{section.title or 'Flags'}:"
            lines += ["", *wrapped(title), *_flags([(f, section.switches) for f in section.fields], complete=True)]
        return "\n".join(lines) + "\n"

    def _usage(self) -> str:
        required = [f"{as_flag(f.name)} {f.type}" for s in self.sections for f in s.fields if f.default is REQUIRED]
        positional = self.positional
        shown = [] if positional is None else [_positional(positional)]
        return " ".join(["usage:", self.prog, *shown, *required, "[flags]"])


def _positional(field: Field) -> str:
    name = field.name.upper() + ("..." if field.type.endswith("...") else "")
    return name if field.default is REQUIRED else f"[{name}]"


def _flags(fields: Iterable[tuple[Field, bool]], *, complete: bool) -> list[str]:
    lines: list[str] = []
    for field, switches in fields:
        shown = field._replace(default=None) if switches and field.kind is bool else field
        lines += _described(shown, _signature(field, switches), complete=complete)
    return lines


def _signature(field: Field, switches: bool) -> str:
    """Return a flag with its value: `--data.batch INT`, or `--overwrite` for a switch that is off."""
    if switches and field.kind is bool:
        return f"--no-{as_flag(field.name)[2:]}" if field.default else as_flag(field.name)
    absent_by_default = switches and field.default is None
    return f"{as_flag(field.name)} {field.type.removesuffix('|None') if absent_by_default else field.type}"


def _described(field: Field, signature: str, *, complete: bool) -> list[str]:
    text = field.help if complete else f"{field.help.split('. ')[0].rstrip('.')}."
    default = "" if field.default is REQUIRED else field.default_text
    if default not in ("", "None"):
        text = f"{text} [default:{NO_BREAK}{default.replace(' ', NO_BREAK)}]"
    return [*wrapped(signature, "  ", "    "), *wrapped(text, "      ", "      ")]


def sections_of(config: object) -> list[Section]:
    """Return the flags of a configuration, by section. Sections that have a `type` have a flag for it."""
    fields = list(every_leaf(config))
    chosen = {f"{f.name}={f.default}" for f in fields if f.name.endswith(".type")}
    titles = _section_titles(config)
    grouped: dict[str, list[Field]] = {}
    for field in fields:
        if not field.choice or field.choice in chosen:
            grouped.setdefault(field.section, []).append(field)
    return [Section(titles.get(name, name), group) for name, group in sorted(grouped.items(), key=lambda g: g[0] != "")]


def _section_titles(config: Any, prefix: str = "") -> dict[str, str]:
    titles = {"": "general"} if not prefix else {}
    for field in fields_of(type(config)):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value) or members(field.kind):
            titles[name] = f"{name} ({field.help.split('. ')[0].rstrip('.')})"
            titles |= _section_titles(value, f"{name}.") if value else {}
    return titles
