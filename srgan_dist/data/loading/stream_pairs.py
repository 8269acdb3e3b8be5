"""The rule by which the samples of a stream are pairs of HR and LR: one for all tars, decided on the first sample."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from srgan_dist.data.loading.tar_stream import IMAGE_EXTENSIONS
from srgan_dist.data.pair_names import Side, side_of, split_mark

Sample = dict[str, Any]
"""A WebDataset sample: extensions with their content, `__key__` and `__url__`."""


class PairRule(NamedTuple):
    """How HR and LR of all samples are named."""

    kind: Literal["members", "keys", "alone"]
    """`members`: `KEY.hr.*` and `KEY.lr.*` of one sample; `keys`: `KEY_hr.*` and `KEY_lr.*`, one behind the other;
    `alone`: HR without LR."""
    key: str
    """Key of the sample on which the rule was decided."""

    def describe(self) -> str:
        """Return the rule as a line for the log."""
        texts = {
            "members": "samples are pairs KEY.hr.* and KEY.lr.*",
            "keys": "samples are pairs KEY_hr.* and KEY_lr.*",
            "alone": "samples are HR images, from which LR is downscaled (bicubic)",
        }
        return f"{texts[self.kind]}, as the first one, {self.key}"


class BrokenPair(NamedTuple):
    """A sample that breaks the rule."""

    url: str
    key: str
    what: str


def has_image(sample: Sample) -> bool:
    """Return whether a sample has an image of any name."""
    return any(name.rpartition(".")[2] in IMAGE_EXTENSIONS for name in sample)


def decide_rule(first: list[Sample], scale: int) -> PairRule:
    """Return the rule that the first one or two samples with an image follow.

    The second one is looked at only if the first one is HR by its key: it is a pair if LR or another name follows.

    Raises:
        ValueError: the first sample is LR without HR.
    """
    key, named = first[0]["__key__"], _by_side(first[0])
    if "lr" in named and "hr" not in named:
        raise ValueError(f"data.stream: {first[0]['__url__']}, sample {key}: has lr.* and no hr.*")
    if named:
        return PairRule("members" if "lr" in named else "alone", key)
    if _folder_side(key) == "lr":
        raise ValueError(
            f"data.stream: {first[0]['__url__']}, sample {key} is LR by its folder, and HR does not follow it; "
            "extract the tar, and pack the folder: srgan pack folder"
        )
    side = split_mark(key, scale)[1]
    second = split_mark(first[1]["__key__"], scale)[1] if len(first) > 1 else None
    return PairRule("keys" if side == "lr" or (side == "hr" and second == "lr") else "alone", key)


def pair_samples(samples: Iterator[Sample], rule: PairRule, scale: int) -> Iterator[Sample | BrokenPair]:
    """Yield the samples of one tar with their images named `hr.*` and `lr.*`, and those that break the rule."""
    if rule.kind == "keys":
        yield from _joined((s for s in samples if has_image(s)), rule, scale)
        return
    for sample in samples:
        named, key = _by_side(sample), sample["__key__"]
        broken = _breach(key, set(named), rule, scale) if has_image(sample) else ""
        yield BrokenPair(sample["__url__"], key, broken) if broken else sample | _members(named)


def _breach(key: str, sides: set[Side], rule: PairRule, scale: int) -> str:
    """Return how a sample breaks a rule for single samples, empty if it does not."""
    if rule.kind == "members":
        missing = [f"{side}.*" for side in ("hr", "lr") if side not in sides]
        return f"has no {' and no '.join(missing)}, but the first sample, {rule.key}, is a pair" if missing else ""
    if "lr" in sides:
        return f"has lr.*, but the first sample, {rule.key}, has none"
    if not sides and "lr" in (split_mark(key, scale)[1], _folder_side(key)):
        return (
            f"is LR by its name, but the first sample, {rule.key}, is HR without LR behind it; pairs must be "
            "KEY_hr.* and KEY_lr.*, one behind the other"
        )
    return ""


def _joined(samples: Iterator[Sample], rule: PairRule, scale: int) -> Iterator[Sample | BrokenPair]:
    """Yield pairs of neighbors `KEY_hr` and `KEY_lr`, in either order, as one sample `KEY`."""
    waiting: dict[Side, Sample] = {}
    stem = ""
    for sample in samples:
        name, side = split_mark(sample["__key__"], scale)
        if waiting and (name != stem or side is None or side in waiting):
            yield _unpaired(waiting, rule)
            waiting = {}
        if side is None or _by_side(sample):
            what = f"its name ends neither in _hr nor in _lr, as that of {rule.key}"
            yield BrokenPair(sample["__url__"], sample["__key__"], what)
            continue
        stem, waiting[side] = name, sample
        if len(waiting) == 2:
            joined = {"__key__": name, "__url__": sample["__url__"]}
            for of, part in waiting.items():
                joined |= {f"{of}.{e}": c for e, c in part.items() if e in IMAGE_EXTENSIONS}
            yield joined
            waiting = {}
    if waiting:
        yield _unpaired(waiting, rule)


def _unpaired(waiting: dict[Side, Sample], rule: PairRule) -> BrokenPair:
    side, sample = next(iter(waiting.items()))
    other = "LR" if side == "hr" else "HR"
    what = f"no {other} partner is beside it, but the first sample, {rule.key}, has one"
    return BrokenPair(sample["__url__"], sample["__key__"], what)


def _by_side(sample: Sample) -> dict[Side, dict[str, bytes]]:
    """Return the images `hr.*`, `gt.*`, `lr.*`, `lq.*` of a sample, extension to content, by side."""
    named: dict[Side, dict[str, bytes]] = {}
    for name, content in sample.items():
        word, _, extension = name.rpartition(".")
        side = side_of(word)
        if side and extension in IMAGE_EXTENSIONS:
            named.setdefault(side, {})[extension] = content
    return named


def _members(named: dict[Side, dict[str, bytes]]) -> Sample:
    return {f"{side}.{e}": content for side, images in named.items() for e, content in images.items()}


def _folder_side(key: str) -> Side | None:
    return side_of(key.rpartition("/")[0].rpartition("/")[2])
