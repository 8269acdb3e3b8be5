"""Parsing of dataclasses from the command line. Does not load torch."""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Generic, NamedTuple, NoReturn, TypeVar, get_args, get_origin

from srgan_dist.cli.choices import choose
from srgan_dist.cli.help_text import HELP, HELP_ALL, HelpText, Section, sections_of
from srgan_dist.cli.tokens import Tokens, read_tokens, value_of
from srgan_dist.utils.renamed import current_name
from srgan_dist.utils.settings.fields import REQUIRED, Field, every_leaf, fields_of, leaves, type_text
from srgan_dist.utils.settings.meant_names import about_unknown_flag, as_flag
from srgan_dist.utils.terminal import write_out
from srgan_dist.utils.usage import UsageError

T = TypeVar("T")
U = TypeVar("U")
_POSITIONAL = "positional"
Positional = Annotated[T, _POSITIONAL]
"""Marks a field as a positional argument: `Positional[Path]`."""


class HelpOptions(NamedTuple):
    """What the help text of a command says besides its flags."""

    about: str = ""
    """What the command does; by default the docstring of the dataclass."""
    common: Sequence[str] = ()
    """Names of the fields that people change most. The others are shown by --help-all."""


_DEFAULT_HELP = HelpOptions()


def parse(
    kind: type[T], args: Sequence[str], prog: str, default: T | None = None, shown: HelpOptions = _DEFAULT_HELP
) -> T:
    """Return a dataclass with the values from the command line.

    Flags that had another name in an earlier version are accepted.

    Args:
        kind: The dataclass.
        args: The command line, without the program's name.
        prog: The program's name in the help text.
        default: The values of fields that the command line does not set; by default those of `kind`. Only with it, the
            dataclass may have others inside it.
        shown: What else the help text says.

    Raises:
        SystemExit: With code 0, after the help text.
        UsageError: If a flag does not exist, or a value is missing or not valid.
    """
    return _parse([_Part(kind, default)], args, prog, shown)[0]


def parse_pair(
    first: type[T], second: type[U], args: Sequence[str], prog: str, default: U | None = None,
    shown: HelpOptions = _DEFAULT_HELP,
) -> tuple[T, U]:  # fmt: skip
    """Return two dataclasses with the values from one command line; `default` is that of the second. See `parse`."""
    parsed = _parse([_Part(first, None), _Part(second, default)], args, prog, shown)
    return parsed[0], parsed[1]


class _Part(NamedTuple, Generic[T]):
    """One of the dataclasses that a command line sets."""

    kind: type[T]
    default: T | None

    def fields(self) -> list[Field]:
        return fields_of(self.kind) if self.default is None else list(leaves(self.default))

    def built(self, values: Mapping[str, Any]) -> T:
        own = {f.name: values[f.name] for f in self.fields() if f.name in values}
        if self.default is None:
            return self.kind(**own)
        return functools.reduce(lambda config, name: _with(config, name.split("."), own[name]), own, self.default)


def _with(config: Any, path: Sequence[str], value: Any) -> Any:
    """Return a dataclass with another value of a field inside it."""
    name, *below = path
    return dataclasses.replace(config, **{name: _with(getattr(config, name), below, value) if below else value})


def _parse(parts: list[_Part[Any]], args: Sequence[str], prog: str, shown: HelpOptions) -> list[Any]:
    args = [_with_current_name(arg) for arg in args]
    wants_help, wants_all = any(h in args for h in HELP), HELP_ALL in args
    args = [arg for arg in args if arg not in (*HELP, HELP_ALL)]
    for number, part in enumerate(parts):
        if part.default is not None:
            default, args = choose(part.default, args)
            parts[number] = part._replace(default=default)
    if wants_help or wants_all:
        write_out(_help_text(parts, prog, shown).render(everything=wants_all))
        raise SystemExit(0)
    fields = {f.name: f for part in parts for f in part.fields()}
    positional = next(filter(_is_positional, fields.values()), None)
    tokens = read_tokens(args, {n: f for n, f in fields.items() if f is not positional})
    if tokens.unknown:
        _refuse_flag(tokens.unknown[0], parts, prog, shown)
    values = {name: value_of(fields[name], words) for name, words in tokens.values.items()}
    values |= _positional_values(positional, tokens, fields)
    if missing := [f for f in fields.values() if f.default is REQUIRED and f.name not in values]:
        name = missing[0].name.upper() if missing[0] is positional else as_flag(missing[0].name)
        raise UsageError(f"{name} is missing: {missing[0].help}")
    return [part.built(values) for part in parts]


def _is_positional(field: Field) -> bool:
    return get_origin(field.kind) is Annotated and _POSITIONAL in get_args(field.kind)


def _positional_values(field: Field | None, tokens: Tokens, flags: Collection[str]) -> dict[str, Any]:
    words = tokens.positional
    if field and words and (len(words) == 1 or type_text(field.kind).endswith("...")):
        return {field.name: value_of(field, words)}
    if not words:
        return {}
    extra = words[1] if field else words[0]
    name, equals, _ = extra.partition("=")
    hint = f"; did you mean --{extra}?" if equals and name.replace("_", "").replace(".", "").isidentifier() else ""
    if "config" in flags and extra.endswith((".yaml", ".yml", ".json")):
        hint = f"; did you mean --config {extra}?"
    raise UsageError(f"unexpected argument {extra!r}{hint}")


def _refuse_flag(flag: str, parts: list[_Part[Any]], prog: str, shown: HelpOptions) -> NoReturn:
    """Raise the UsageError for a flag that does not exist."""
    name = flag.removeprefix("--").replace("-", "_")
    names = [f.name for part in parts for f in part.fields() if not _is_positional(f)]
    others = [f for part in parts if part.default is not None for f in every_leaf(part.default)]
    choices = [f.choice for f in others if f.name == name]
    if choices:
        section, _, tag = choices[0].partition("=")
        raise UsageError(f"{flag} belongs to {as_flag(section)} {tag}, which is not chosen")
    names += [f.name for f in others if f.name.endswith(".type")]
    about = about_unknown_flag(flag, names, f"{prog} {HELP_ALL} lists all flags", preferred=shown.common)
    raise UsageError(f"there is no flag {flag}; {about}")


def _with_current_name(arg: str) -> str:
    """Return an argument with the flag's current name, if it had another one in an earlier version."""
    flag, equals, value = arg.partition("=")
    name = current_name(flag.removeprefix("--").replace("-", "_"))
    if not flag.startswith("--") or name == flag[2:].replace("-", "_"):
        return arg
    return f"{as_flag(name)}{equals}{value}"


def _help_text(parts: list[_Part[Any]], prog: str, shown: HelpOptions) -> HelpText:
    about = shown.about or " ".join((parts[0].kind.__doc__ or "").split())
    positional = next((f for part in parts for f in part.fields() if _is_positional(f)), None)
    own = [f for part in parts if part.default is None for f in part.fields() if not _is_positional(f)]
    sections = [Section("", own, switches=True)] if own else []
    sections += [s for part in parts if part.default is not None for s in sections_of(part.default)]
    return HelpText(prog, about, positional, sections, shown.common)
