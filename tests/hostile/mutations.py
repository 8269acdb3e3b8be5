"""Strategies that change valid content: bytes, JSON values, names."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

INTERESTING = st.sampled_from(
    [
        -1,
        0,
        1,
        2,
        3,
        7,
        255,
        4096,
        65536,
        2**31,
        2**32,
        2**53,
        2**62,
        2**63,
        10**30,
        -(2**63),
        True,
        False,
        None,
        0.5,
        1e308,
        float("inf"),
        float("nan"),
        "",
        "0",
        "../x",
        "/etc/passwd",
        "a" * 5000,
        "\0",
        "\n",
        "\x1b[2J",
        "ü",
        "\ud800",
        [],
        {},
        [[]],
        [0],
        ["x"],
        {"type": "x"},
        {"a": {"b": {}}},
        "train",
        "raw",
        "png",
        "rrdbnet",
        "0" * 64,
        "pipe:touch x",
        "https://u:p@example.invalid/?s=1",
    ]
)
BYTES = st.sampled_from(
    [b"\0", b"\xff", b"\x7f", b"\x80", b"0", b"9", b"-", b"{", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\n"]
)


def paths(tree: Any, prefix: tuple = (), most: int = 400) -> list[tuple]:
    """The positions of all values in a tree; of long lists only the first and the last."""
    found = [prefix] if prefix else []
    keys = list(tree) if isinstance(tree, dict) else []
    if isinstance(tree, list) and tree:
        keys = sorted({0, len(tree) - 1})
    for key in keys:
        found += paths(tree[key], (*prefix, key), most)
    return found[:most]


@st.composite
def changed_tree(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """A copy of a JSON tree with up to `most` values replaced, removed or repeated."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(0, most))):
        where = paths(tree)
        if not where:
            return tree
        *above, last = draw(st.sampled_from(where))
        owner = tree
        for key in above:
            owner = owner[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "near", "remove", "repeat"])):
            case "replace":
                owner[last] = copy.deepcopy(draw(INTERESTING))
            case "near" if type(owner[last]) is int:
                owner[last] += draw(st.sampled_from([-512, -2, -1, 1, 2, 512]))
            case "remove":
                del owner[last]
            case "repeat" if isinstance(owner, list):
                owner.append(copy.deepcopy(owner[last]))
            case _:
                owner[last if isinstance(owner, list) else f"{last}x"] = draw(INTERESTING)
    return tree


def mostly(usual: st.SearchStrategy, *others: st.SearchStrategy) -> st.SearchStrategy:
    """The usual strategy three times of four; Hypothesis draws from every strategy equally often."""
    return st.integers(0, 3).flatmap(lambda n: usual if n else st.one_of(*others))


def encoded(tree: Any) -> bytes:
    return json.dumps(tree).encode(errors="replace")


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes, first: int = 0, most: int = 4) -> bytes:
    """A copy of some bytes with up to `most` places overwritten, inserted, removed or cut off, from byte `first` on."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(0, most))):
        if len(changed) <= first:
            break
        at = draw(st.integers(first, len(changed) - 1))
        near = draw(st.integers(0, 9)) < 6  # headers are where it matters
        at = min(at, first + draw(st.integers(0, 600))) if near else at
        at = min(at, len(changed) - 1)
        match draw(st.sampled_from(["overwrite", "overwrite", "any", "insert", "remove", "cut", "repeat"])):
            case "overwrite":
                new = draw(BYTES)
                changed[at : at + len(new)] = new
            case "any":
                changed[at] = draw(st.integers(0, 255))
            case "insert":
                changed[at:at] = draw(BYTES) * draw(st.sampled_from([1, 16, 512]))
            case "remove":
                del changed[at : at + draw(st.sampled_from([1, 4, 512]))]
            case "cut" if draw(st.booleans()):
                del changed[at:]
            case _:
                changed[at:at] = changed[at : at + 64]
    return bytes(changed)
