"""Unions of dataclasses, from which config files and the command line choose a class by its `type`."""

import dataclasses
import difflib
import types
from collections.abc import Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")

_SUFFIXES = ("Config", "Discriminator", "Schedule", "GAN", "Degradation")
_ALIASES = {"real": "realesrgan"}
"""Other words for a `type`."""
NONE = "none"
"""The `type` that stands for None."""


class UnknownChoiceError(ValueError):
    """Raised for a `type` that no class of the union has."""


def members(kind: Any) -> tuple[type, ...]:
    """Return the classes of a union of dataclasses, in its order, or an empty tuple for any other type."""
    if get_origin(kind) not in (Union, types.UnionType):
        return ()
    kinds = [k for k in get_args(kind) if k is not type(None)]
    return tuple(kinds) if all(dataclasses.is_dataclass(k) for k in kinds) else ()


def tag(kind: type) -> str:
    """Return the `type` of a class: `rrdbnet` for RRDBNetConfig, `relativistic` for RelativisticGAN."""
    name = kind.__name__
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.lower()


def find(kind: Any, wanted: str, where: str) -> type | None:
    """Return the class of a union with a given `type`, or None for `none` if the union contains None.

    Args:
        kind: A union of dataclasses.
        wanted: The `type`.
        where: The user's name for the field, for the error message.

    Raises:
        UnknownChoiceError: If the union has no class of this `type`.
    """
    tags: dict[str, type | None] = {tag(k): k for k in members(kind)}
    if type(None) in get_args(kind):
        tags[NONE] = None
    wanted = _ALIASES.get(wanted, wanted)
    if wanted not in tags:
        close = difflib.get_close_matches(wanted, tags, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(tags)}"
        raise UnknownChoiceError(f"{where}: there is no {wanted!r}; {hint}")
    return tags[wanted]


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a hint that names the most similar known word, or all known words if none is similar."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"
