from pathlib import Path
from typing import Any

import pytest

from srgan_dist.cli.tokens import read_tokens, value_of
from srgan_dist.utils.settings.fields import Field
from srgan_dist.utils.usage import UsageError

FIELDS = {
    name: Field(name, kind, default, "")
    for name, kind, default in [
        ("data.hr_crop", int, 96), ("rate", float, 0.1), ("on", bool, False), ("maybe", bool | None, None),
        ("files", tuple[Path, ...], ()), ("pair", tuple[float, float], (0.1, 0.2)), ("limit", int | None, None),
        ("layers", tuple[tuple[str, float], ...], ()),
    ]
}  # fmt: skip


def values(*args: str) -> dict[str, Any]:
    found = read_tokens(args, FIELDS)
    assert not found.unknown
    return {name: value_of(FIELDS[name], words) for name, words in found.values.items()}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("--data.hr_crop 3", {"data.hr_crop": 3}),
        ("--data.hr-crop=3", {"data.hr_crop": 3}),
        ("--data.hr-crop 1 --data.hr-crop 2", {"data.hr_crop": 2}),
        ("--data.hr-crop 1e3", {"data.hr_crop": 1000}),
        ("--rate -1.5", {"rate": -1.5}),
        ("--rate -.5", {"rate": -0.5}),
        ("--on", {"on": True}),
        ("--on false", {"on": False}),
        ("--on=No", {"on": False}),
        ("--no-on", {"on": False}),
        ("--maybe none", {"maybe": None}),
        ("--files a b", {"files": (Path("a"), Path("b"))}),
        ("--files a --files b", {"files": (Path("a"), Path("b"))}),
        ("--files none", {"files": ()}),
        ("--pair 1 2", {"pair": (1.0, 2.0)}),
        ("--limit None", {"limit": None}),
        ("--layers a 1 b 2", {"layers": (("a", 1.0), ("b", 2.0))}),
    ],
)
def test_values_are_read_as_they_are_written(args: str, expected: dict[str, Any]):
    assert values(*args.split()) == expected


def test_words_without_a_flag_and_after_two_dashes_are_positional():
    found = read_tokens(["a", "--data.hr-crop", "3", "b", "--", "--rate"], FIELDS)

    assert found.positional == ["a", "b", "--rate"]


def test_the_values_of_an_unknown_flag_are_not_positional():
    found = read_tokens(["--lr", "3", "--rate", "1"], FIELDS)

    assert (found.unknown, found.positional) == (["--lr"], [])


@pytest.mark.parametrize(
    "args",
    ["--rate", "--rate --on", "--rate x", "--pair 1", "--layers a", "--files", "--data.hr-crop 1.5", "--on=perhaps"],
)
def test_missing_and_wrong_values_are_refused(args: str):
    with pytest.raises(UsageError, match=f"^{args.split('=')[0].split()[0]}"):
        values(*args.split())
