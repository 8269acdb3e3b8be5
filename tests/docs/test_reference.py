"""The reference pages that are written from the code: complete, and up to date."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest

import srgan_dist
from docs.generator.commands import ask
from docs.generator.pages import PAGES, REFERENCE
from docs.generator.presets import flags
from srgan_dist.cli.app import COMMANDS
from srgan_dist.cli.parsing import parse
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.preset_names import SUMMARIES
from srgan_dist.training.presets import PRESETS
from srgan_dist.utils.unions import members


def text_of(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def every_field(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every field of a configuration, with all classes of its unions."""
    for name, hint in get_type_hints(kind).items():
        kinds = members(hint) or ((hint,) if dataclasses.is_dataclass(hint) else ())
        if name in {f.name for f in dataclasses.fields(kind)}:
            yield from (f for k in kinds for f in every_field(k, f"{prefix}{name}.")) if kinds else [prefix + name]


@pytest.mark.parametrize("page", PAGES)
def test_generated_pages_are_up_to_date(page: str):
    assert PAGES[page]() == text_of(page), "run: make reference"


def test_every_configuration_field_is_described():
    rows = dict(re.findall(r"^\| `--([\w.-]+)` \|.*\| ([^|]*) \|$", text_of("configuration.md"), re.MULTILINE))
    fields = {name.replace("_", "-") for name in every_field(TrainConfig)}

    assert len(fields) > 100
    assert not fields - rows.keys()
    assert not [name for name in fields if not rows[name].strip()]


def test_every_preset_is_described():
    headings = re.findall(r"^## (\S+)$", text_of("presets.md"), re.MULTILINE)

    assert headings == list(PRESETS) == list(dict.fromkeys([*PRESETS, *SUMMARIES]))


@pytest.mark.parametrize("name", PRESETS)
def test_the_flags_of_a_preset_make_it_from_the_defaults(name: str):
    block = re.search(rf"^## {name}$.*?^```text\n(.*?)^```$", text_of("presets.md"), re.MULTILINE | re.DOTALL)
    assert block
    words = block[1].split()

    assert parse(TrainConfig, words, "train.py", TrainConfig()) == PRESETS[name]
    assert len(list(flags(PRESETS[name], TrainConfig()))) == block[1].count("\n")


def test_every_command_and_each_of_its_flags_is_described():
    text = text_of("commands.md")
    headings = re.findall(r"^## srgan (\S+)$", text, re.MULTILINE)

    assert headings == list(COMMANDS)
    for name in COMMANDS:
        answer = ask(name, ["--help"])
        kinds = answer.options or [k for c in answer.choices for k in ask(name, [c, "--help"]).options]
        part = text.split(f"\n## srgan {name}\n")[1].split("\n## ")[0]
        listed = set(re.findall(r"^\| `(?:--)?(?:no-)?([\w-]+)` \|", part, re.MULTILINE))
        for kind in kinds if answer.kind != "preset" else ():
            wanted = {f.name.replace("_", "-") for f in dataclasses.fields(kind)}
            assert not wanted - {n.lower() for n in listed} - {n.lower().replace("_", "-") for n in listed}


def test_every_public_name_is_in_the_api():
    documented = set(re.findall(r"^::: ([\w.]+)$", text_of("api.md"), re.MULTILINE))

    assert {f"{module}.{name}" for name, module in srgan_dist._PUBLIC.items()} <= documented
    assert "srgan_dist.presets.PRESETS" in text_of("api.md")
