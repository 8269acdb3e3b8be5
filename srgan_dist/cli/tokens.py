"""From the words of a command line to the values of fields."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

from srgan_dist.utils.settings.fields import REQUIRED, Field, without_none
from srgan_dist.utils.settings.meant_names import as_flag
from srgan_dist.utils.settings.plain_values import boolean, convert
from srgan_dist.utils.usage import UsageError

_NUMBER = re.compile(r"-\.?\d.*")


class Tokens(NamedTuple):
    """The words of a command line by field."""

    values: dict[str, list[str]]
    """The words after each flag, by the name of its field."""
    positional: list[str]
    """The words without a flag."""
    unknown: list[str]
    """Flags that do not exist."""


def is_flag(word: str) -> bool:
    """Return whether a word is a flag: `--seed`, `--seed=1`, `-o`, but not `-1` or `-`."""
    return word.startswith("-") and len(word) > 1 and not _NUMBER.fullmatch(word)


def read_tokens(args: Sequence[str], fields: Mapping[str, Field]) -> Tokens:
    """Sort the words of a command line.

    Underscores and dashes in flags are the same. Booleans need no value, and `--no-NAME` turns them off. If a flag is
    repeated, its last value counts, except that the items of lists add up. All words after `--` have no flag.

    Args:
        args: The command line, without the program's name.
        fields: The fields that have flags, by name.
    """
    found, queue = Tokens({}, [], []), list(args)
    while queue:
        word = queue.pop(0)
        if word == "--":
            found.positional.extend(queue)
            break
        if not is_flag(word):
            found.positional.append(word)
            continue
        flag, equals, value = word.partition("=")
        name = flag[2:].replace("-", "_") if flag.startswith("--") else ""
        off = name.removeprefix("no_")
        if name in fields:
            words = [value] if equals else _take(queue, fields[name])
            added = found.values.get(name, []) if _is_list(fields[name]) else []
            found.values[name] = added + words
        elif off != name and off in fields and without_none(fields[off].kind)[0] is bool and not equals:
            found.values[off] = ["False"]
        else:
            found.unknown.append(flag)
            list(_until_flag(queue))
    return found


def _take(queue: list[str], field: Field) -> list[str]:
    """Remove the values of a flag from the front of the queue."""
    if without_none(field.kind)[0] is bool:
        return [queue.pop(0)] if queue and _is_boolean(queue[0], field) else ["True"]
    if _is_list(field):
        return list(_until_flag(queue))
    wanted = 1 if queue[:1] in (["None"], ["none"]) else _arity(without_none(field.kind)[0])
    taken: list[str] = []
    while queue and len(taken) < wanted and not is_flag(queue[0]):
        taken.append(queue.pop(0))
    return taken


def _until_flag(queue: list[str]) -> Iterator[str]:
    while queue and not is_flag(queue[0]):
        yield queue.pop(0)


def _is_boolean(word: str, field: Field) -> bool:
    try:
        boolean(word)
    except ValueError:
        return word.lower() == "none" and without_none(field.kind)[1]
    return True


def _is_list(field: Field) -> bool:
    kind, _ = without_none(field.kind)
    return get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis


def _arity(kind: Any) -> int:
    """Return the number of words of a value: 2 for a pair."""
    return len(get_args(kind)) if get_origin(kind) is tuple else 1


def value_of(field: Field, words: Sequence[str]) -> Any:
    """Return the value of a field from the words after its flag; `none` is None, or a list without items.

    Raises:
        UsageError: If there are too few words, or one of them is not valid.
    """
    try:
        return _converted(field.kind, words)
    except ValueError as error:
        raise UsageError(f"{as_flag(field.name)}{_needs(field) if not words else f': {error}'}") from None


def _needs(field: Field) -> str:
    has_example = field.default is not REQUIRED and field.default_text not in ("", "None")
    return f" needs a value{f', such as {field.default_text}' if has_example else f': {field.type}'}"


def _converted(kind: Any, words: Sequence[str]) -> Any:
    kind, optional = without_none(kind)
    is_tuple = get_origin(kind) is tuple
    parts = get_args(kind)
    is_list = is_tuple and parts[-1] is Ellipsis
    if (optional or is_list) and [w.lower() for w in words] == ["none"]:
        return () if is_list else None
    if not is_tuple:
        (word,) = words
        return _word(word, kind)
    size = _arity(parts[0]) if is_list else len(parts)
    if not words or len(words) % size or (not is_list and len(words) != size):
        raise ValueError(f"needs {size} values{' per item' if is_list else ''}, not {len(words)}")
    if not is_list:
        return tuple(_word(w, k) for w, k in zip(words, parts, strict=True))
    return tuple(_converted(parts[0], words[i : i + size]) for i in range(0, len(words), size))


def _word(word: str, kind: Any) -> Any:
    try:
        return convert(word, kind)
    except ValueError as error:
        raise ValueError(f"{word!r} {error}") from None
