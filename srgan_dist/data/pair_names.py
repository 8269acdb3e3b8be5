"""The words by which names of files, folders and members of tars say that an image is HR or LR."""

import re
from typing import Literal

HR_WORDS, LR_WORDS = "hr|gt|hq|highres|high_res", "lr|lq|lowres|low_res"
"""Alternatives of a regular expression, to be matched in any case."""
Side = Literal["hr", "lr"]


def side_of(word: str) -> Side | None:
    """Return which side of a pair a word names, in any case; None if it is no such word."""
    if re.fullmatch(HR_WORDS, word, re.IGNORECASE):
        return "hr"
    return "lr" if re.fullmatch(LR_WORDS, word, re.IGNORECASE) else None


def split_mark(name: str, scale: int) -> tuple[str, Side | None]:
    """Divide a name without extension into the common name of a pair and the side that its end names.

    `0001_HR` and `0001-lr_x4` (at that scale) become `0001` with `hr` and `lr`; other names stay, with None.
    """
    found = re.search(rf"[_-]({HR_WORDS}|{LR_WORDS})(?:[_-]?x{scale})?$", name, re.IGNORECASE)
    return (name[: found.start()], side_of(found[1])) if found else (name, None)
