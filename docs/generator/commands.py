"""The page of the commands: every command and action with its flags."""

import contextlib
import importlib
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

from docs.generator.fields import Row, rows, shown, words
from docs.generator.markdown import page, table
from srgan_dist.cli import console, parsing
from srgan_dist.cli.app import COMMANDS
from srgan_dist.training.config import TrainConfig

_INTRODUCTION = """\
`srgan COMMAND ...` and `accelerate launch -m srgan_dist COMMAND ...` are the same program; the second form shares the
work among several processes. `srgan COMMAND --help` prints what stands here.

Exit codes: 0 done, 1 failed, 2 wrong usage, 75 stopped on request after saving a checkpoint, 130 interrupted."""


class Help(NamedTuple):
    """What a command answers to --help."""

    choices: dict[str, str]
    """Choices for its first argument, and their descriptions."""
    kind: str
    """Singular noun for a choice."""
    options: tuple[type, ...]
    """The dataclasses that its arguments are parsed into."""
    text: str
    """What it printed, if it has neither choices nor options."""


def commands_page() -> str:
    """Return the page of the commands."""
    lines = [*_INTRODUCTION.splitlines(), "", *table(("command", "what it does"), map(_link, COMMANDS.items()))]
    for name, text in COMMANDS.items():
        lines += ["", f"## srgan {name}", "", f"{text[0].upper()}{text[1:]}.", *_describe(name)]
    return page("Commands", "make reference", *lines)


def _link(command: tuple[str, str]) -> tuple[str, str]:
    name, text = command
    return f"[`srgan {name}`](#srgan-{name})", text


def _describe(name: str) -> Iterator[str]:
    answer = ask(name, ["--help"])
    if answer.kind == "preset":
        yield from (
            "",
            "The presets are listed in [Presets](presets.md), their flags in [Configuration](configuration.md).",
        )
        options = ask(name, [next(iter(answer.choices)), "--help"]).options
        yield from _options(kind for kind in options if kind is not TrainConfig)
    elif answer.choices:
        yield from _describe_choices(name, answer)
    else:
        yield from _options(answer.options) if answer.options else ("", "```text", *answer.text.splitlines(), "```")


def _describe_choices(name: str, answer: Help) -> Iterator[str]:
    """Yield a part for each choice, and one for the options that all of them have."""
    options = {choice: ask(name, [choice, "--help"]).options for choice in answer.choices}
    shared = [kind for kind in next(iter(options.values())) if all(kind in kinds for kinds in options.values())]
    for choice, text in answer.choices.items():
        yield from ("", f"### srgan {name} {choice}", "", text)
        yield from _options(kind for kind in options[choice] if kind not in shared)
    if shared:
        yield from ("", f"### Flags of every {answer.kind} of srgan {name}")
        yield from _options(shared)


def _options(kinds: Iterable[type]) -> Iterator[str]:
    if found := [row for kind in kinds for row in rows(kind)]:
        yield from ("", *table(("argument", "value", "default", "meaning"), map(_cells, found)))


def _cells(row: Row) -> tuple[str, ...]:
    is_switch = row.kind is bool
    flag = f"--no-{row.flag[2:]}" if is_switch and row.default else row.flag
    name = row.name.upper() if row.positional else flag
    return f"`{name}`", "" if is_switch else words(row.kind), "" if is_switch else shown(row.default), row.text


def ask(name: str, args: Sequence[str]) -> Help:
    """Return the help of a command without running it.

    The command itself is asked, so that nothing here has to know which options it has.
    """
    menus: list[console.Menu] = []
    options: list[Any] = []

    def answer(menu: console.Menu, given: Sequence[str]) -> int | None:
        if not given or given[0] in ("-h", "--help"):
            menus.append(menu)
            return 0
        return None

    def parsed(parts: Sequence[Any], *_: Any) -> Any:
        options.extend(part.kind for part in parts)
        raise SystemExit(0)

    command, printed = importlib.import_module(f"srgan_dist.cli.{name}"), io.StringIO()
    with (
        mock.patch.object(console.Menu, "answer", answer),
        mock.patch.object(parsing, "_parse", parsed),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        command.main(list(args))
    menu = menus[0] if menus else None
    return Help(dict(menu.rows) if menu else {}, menu.kind if menu else "", tuple(options), printed.getvalue())
