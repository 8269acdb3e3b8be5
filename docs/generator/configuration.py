"""The page of the configuration: every field of a training run, section by section."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args

from docs.generator.fields import Row, rows, sections, shown, summary, words
from docs.generator.markdown import page, table
from srgan_dist.training.config import TrainConfig
from srgan_dist.utils.unions import NONE, members, tag

_INTRODUCTION = """\
Every field is a flag of `train.py PRESET`, and a key of the run's `config.json` and of a file for `--config`: the flag
`--data.hr-crop 128` is the key `hr_crop` in the section `data`. Names may be written with `-` or `_`. Booleans take a
value: `--deterministic True`. The defaults here are those of the configuration; [presets](presets.md) set their own.

A section with several classes has a flag that chooses one, such as `--generator.type rrdbnet`, and then the flags of
that class. A part of the configuration that is optional is turned off with `--SECTION.type none`."""


def configuration_page() -> str:
    """Return the page of the configuration."""
    default = TrainConfig()
    lines = [*_INTRODUCTION.splitlines(), "", "## The run", "", *_table(rows(TrainConfig, default))]
    for name, hint, text in sections(TrainConfig):
        lines += ["", *_section(name, hint, text, getattr(default, name), 2)]
    return page("Configuration", "make reference", *lines)


def _section(name: str, hint: Any, text: str, default: Any, level: int) -> Iterator[str]:
    yield from (f"{'#' * level} {name}", "", text)
    kinds = members(hint)
    if not kinds:
        yield from _fields(hint, default, name, level)
        return
    optional = type(None) in get_args(hint)
    choices = [*map(tag, kinds), *([NONE] if optional else [])]
    chosen = tag(type(default)) if default is not None else NONE
    yield from ("", f"`--{_dashed(name)}.type`: {', '.join(f'`{c}`' for c in choices)}; default `{chosen}`.")
    for kind in kinds:
        yield from ("", f"{'#' * (level + 1)} {name}: {tag(kind)}", "", summary(kind), "")
        same = type(default) is kind
        yield from _fields(kind, default if same else _defaults(kind), name, level + 1, flat=True)


def _fields(kind: type, default: Any, name: str, level: int, *, flat: bool = False) -> Iterator[str]:
    found = list(rows(kind, default, f"{name}."))
    inner = [(f"{name}.{n}", h, t, getattr(default, n, None)) for n, h, t in sections(kind)]
    if flat:
        found += [row for n, h, _, d in inner for row in rows(h, d, f"{n}.")]
    if found:
        yield from ("", *_table(found))
    for path, hint, text, value in () if flat else inner:
        yield from ("", *_section(path, hint, text, value, level + 1))


def _defaults(kind: type) -> Any:
    """Return an instance with the defaults of a class, or None if a field has none."""
    missing = dataclasses.MISSING
    required = any(f.default is missing and f.default_factory is missing for f in dataclasses.fields(kind))
    return None if required else kind()


def _table(found: Iterator[Row] | list[Row]) -> list[str]:
    cells = ((f"`{r.flag}`", words(r.kind), shown(r.default), r.text) for r in found)
    return table(("flag", "value", "default", "meaning"), cells)


def _dashed(name: str) -> str:
    return name.replace("_", "-")
