from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from srgan_dist.utils.settings.fields import REQUIRED, every_leaf, fields_of, leaves, type_text


@dataclass(frozen=True, kw_only=True)
class CatConfig:
    lives: int = 9
    """Number of
    lives."""


@dataclass(frozen=True, kw_only=True)
class BigCatConfig(CatConfig):
    file: Path
    """Photograph."""


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """A zoo."""

    pet: CatConfig | BigCatConfig = field(default_factory=CatConfig)
    """The animal."""
    guest: CatConfig | None = None
    """A visitor."""
    undocumented: tuple[int, ...] = (1, 2)


def test_a_docstring_is_one_paragraph_and_inherited():
    found = {f.name: f for f in fields_of(BigCatConfig)}

    assert found["lives"].help == "Number of lives."
    assert found["file"].help == "Photograph."
    assert found["file"].default is REQUIRED
    assert found["file"].default_text == ""


def test_leaves_have_the_values_of_the_instance():
    found = {f.name: f.default for f in leaves(Zoo(pet=BigCatConfig(lives=1, file=Path("x"))))}

    assert found == {"pet.lives": 1, "pet.file": Path("x"), "guest": None, "undocumented": (1, 2)}


def test_every_leaf_covers_the_classes_that_are_not_chosen():
    found = [(f.name, f.choice, f.default_text) for f in every_leaf(Zoo(pet=CatConfig(lives=3)))]

    assert found == [
        ("pet.type", "", "cat"),
        ("pet.lives", "pet.type=cat", "3"),
        ("pet.lives", "pet.type=bigcat", "9"),
        ("pet.file", "pet.type=bigcat", ""),
        ("guest.type", "", "None"),
        ("guest.lives", "guest.type=cat", "9"),
        ("undocumented", "", "1 2"),
    ]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "INT"),
        (Annotated[Path | None, "positional"], "PATH|None"),
        (Literal["l1", "mse"], "l1|mse"),
        (Literal["l1", "mse"] | None, "l1|mse|None"),
        (tuple[str, ...], "TEXT..."),
        (tuple[tuple[str, float], ...], "TEXT FLOAT..."),
        (tuple[Path, Path] | None, "PATH PATH|None"),
        (CatConfig | BigCatConfig | None, "cat|bigcat|None"),
    ],
)
def test_types_are_written_as_in_a_usage_line(kind: object, text: str):
    assert type_text(kind) == text
