"""The page of the presets: every preset with the flags in which it differs from the defaults."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_type_hints

from docs.generator.fields import is_section, values
from docs.generator.markdown import page, table
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.preset_names import SUMMARIES
from srgan_dist.training.presets import PRESETS
from srgan_dist.utils.unions import NONE, tag


def flags(config: Any, default: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield flag and value of each field in which a configuration differs from a default one.

    A section of another class starts with `--SECTION.type`; its fields are compared with the defaults of that class.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        name, value, before = f"{prefix}{field.name}", getattr(config, field.name), getattr(default, field.name)
        flag = f"--{name.replace('_', '-')}"
        if not is_section(hints[field.name]):
            if value != before:
                yield flag, values(value)
        elif value is None:
            if before is not None:
                yield f"{flag}.type", NONE
        else:
            if type(value) is not type(before):
                yield f"{flag}.type", tag(type(value))
                before = type(value)()
            yield from flags(value, before, f"{name}.")


def presets_page() -> str:
    """Return the page of the presets."""
    lines = [
        "A preset is a complete configuration with a name: `accelerate launch train.py PRESET`. It is started as it",
        "is, or with any of [the flags](configuration.md) to change it; `train.py PRESET --help` lists them with the",
        "preset's values. [Which of these do I need?](../how-to/choose.md) helps to choose one.",
        "",
        *table(
            ("preset", "what it trains", "scale", "HR crop", "crops per process and step", "steps of the two phases"),
            (_overview(name) for name in PRESETS),
        ),
        "",
        "Below, each preset is written as the flags in which it differs from the defaults of the configuration.",
        "",
    ]
    for name, config in PRESETS.items():
        written = [f"{flag} {value}".rstrip() for flag, value in flags(config, TrainConfig())]
        lines += [f"## {name}", "", f"{SUMMARIES[name][0].upper()}{SUMMARIES[name][1:]}.", "", "```text"]
        lines += [*written, "```", ""]
    return page("Presets", "make reference", *lines)


def _overview(name: str) -> tuple[str, ...]:
    config = PRESETS[name]
    phases = f"{config.pretrain.steps:,} + {config.adversarial.steps:,}"
    link = f"[`{name}`](#{name})"
    return link, SUMMARIES[name], f"x{config.scale}", str(config.data.hr_crop), str(config.data.batch), phases
