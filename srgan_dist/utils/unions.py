"""Choices between classes: the `type` that stands for a class in config files and on the command line."""

import dataclasses
import difflib
import types
from collections.abc import Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")

_SUFFIXES = ("Config", "Discriminator", "Schedule", "GAN", "Degradation")
NONE = "none"


class UnknownChoiceError(ValueError):
    """No class of the union has this tag."""


def members(kind: Any) -> tuple[type, ...]:
    """The dataclasses that a union chooses from, in its order; none for everything that is not such a union."""
    if get_origin(kind) not in (Union, types.UnionType):
        return ()
    kinds = [k for k in get_args(kind) if k is not type(None)]
    return tuple(kinds) if all(dataclasses.is_dataclass(k) for k in kinds) else ()


def tag(kind: type) -> str:
    """`type` of a class: RRDBNetConfig is rrdbnet, UNetDiscriminatorConfig unet, RelativisticGAN relativistic."""
    name = kind.__name__
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.lower()


def find(kind: Any, wanted: str, where: str) -> type | None:
    """The class of a union with this tag; None for `none`, where the union has it.

    Raises:
        ValueError: there is none; `where` is what the user calls the field.
    """
    tags: dict[str, type | None] = {tag(k): k for k in members(kind)}
    if type(None) in get_args(kind):
        tags[NONE] = None
    if wanted not in tags:
        close = difflib.get_close_matches(wanted, tags, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(tags)}"
        raise UnknownChoiceError(f"{where}: there is no {wanted!r}; {hint}")
    return tags[wanted]


def nearest(word: str, known: Sequence[str]) -> str:
    """' (did you mean X?)' or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"
