"""Names of the methods of an evaluation, each of which is a key: no two of them may be equal."""

from collections.abc import Iterable, Sequence

from srgan_dist.imaging.resize import INTERPOLATIONS

RESERVED = (*INTERPOLATIONS, "LR", "HR")
"""Names that models must not have, whatever their files say."""


def unique_names(names: Sequence[str], taken: Iterable[str] = RESERVED) -> list[str]:
    """Return the names with " (2)", " (3)" and so on appended to those that are taken or were there before."""
    used, found = set(taken), list[str]()
    for name in names:
        number, chosen = 1, name
        while chosen in used:
            number += 1
            chosen = f"{name} ({number})"
        used.add(chosen)
        found.append(chosen)
    return found
