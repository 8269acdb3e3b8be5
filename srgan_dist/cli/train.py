"""`srgan train PRESET`, the same as `train.py PRESET`: parse the configuration and train."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import STOPPED, Menu, failed, guarded, run_program
from srgan_dist.cli.without_torch import without_torch
from srgan_dist.training.preset_names import SUMMARIES
from srgan_dist.utils.terminal import printable, write_error, write_out
from srgan_dist.utils.usage import UsageError

if TYPE_CHECKING:
    from srgan_dist.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TrainFlags:
    """What to do with a configuration. None of these is a field of it: a file must not allow shell commands."""

    config: Path | None = None
    """A YAML or JSON file with settings that replace those of the preset, or the defaults if no preset is named. `srgan
    config PRESET --out FILE` writes one to edit; the config.json of a run is one too. Flags replace its settings."""

    dry_run: bool = False
    """Run a few steps, save, resume and validate in a temporary folder, and estimate the time and memory of the run."""

    allow_pipe: bool = False
    """Allow shell commands, pipe:COMMAND, in --data.stream."""


COMMON = (
    "data.shards", "run_dir", "data.batch", "data.hr_crop", "pretrain.steps", "pretrain.schedule.learning_rate",
    "adversarial.steps", "adversarial.schedule.learning_rate", "weights", "mixed_precision", "seed",
    "validation.every", "config", "dry_run",
)  # fmt: skip
"""The flags that people change most, in the order of the help text."""


def main(args: list[str]) -> int:
    """Run `srgan train PRESET ...`, and return the exit code."""
    return _answer(args, "srgan train")


def train_main(args: Sequence[str] | None = None) -> int:
    """Run `train.py PRESET [flags]`, and return the exit code."""
    chosen = list(sys.argv[1:] if args is None else args)
    return run_program(lambda: _answer(chosen, "train.py"))


def _answer(args: list[str], prog: str) -> int:
    hint = f"{prog} PRESET --help shows the flags that people change most, with the preset's values."
    usage = f"usage: {prog} PRESET [flags]   or   {prog} --config FILE [flags]"
    menu = Menu(usage, "preset", SUMMARIES, hint, files=f"{prog} --config {{}}")
    if not _config_file(args) and (code := menu.answer(args)) is not None:
        return code
    return guarded(lambda: _train(args, prog))


def _config_file(args: Sequence[str]) -> Path | None:
    """Return the file after --config, before the other flags are read: their defaults depend on it.

    Raises:
        UsageError: If the flag has no value.
    """
    for number, arg in enumerate(args):
        flag, _, value = arg.partition("=")
        if flag == "--config":
            value = value or "".join(args[number + 1 : number + 2])
            if not value or value.startswith("--"):
                raise UsageError("--config needs a file: --config FILE [flags]")
            return Path(value)
    return None


def _parsed(args: list[str], prog: str) -> "tuple[TrainFlags, TrainConfig]":
    """Return the flags and the configuration.

    Raises:
        SystemExit: After the help text.
        UsageError: If the file or a flag is not valid.
    """
    from srgan_dist.cli.parsing import HelpOptions, parse_pair
    from srgan_dist.training.config import TrainConfig, read_config
    from srgan_dist.training.presets import preset

    name, rest = ("", args) if args[0].startswith("-") else (args[0], args[1:])
    default, file = preset(name) if name else TrainConfig(), _config_file(args)
    if file:
        try:
            default = read_config(file, default)
        except ValueError as error:
            raise UsageError(str(error)) from None
    absent = tuple(p for p in ("pretrain", "adversarial") if not getattr(default, p).steps)
    common = tuple(flag for flag in COMMON if not flag.startswith(absent))
    shown = HelpOptions(SUMMARIES.get(name, "A training run"), common)
    default = _steps_for_epochs(default, rest)
    return parse_pair(TrainFlags, TrainConfig, rest, f"{prog} {name}".rstrip(), default, shown)


def _steps_for_epochs(default: "TrainConfig", args: list[str]) -> "TrainConfig":
    """Return the preset without the epochs of phases whose steps the command line sets."""
    flags = {arg.split("=")[0] for arg in args}
    phases = {
        name: replace(getattr(default, name), epochs=None)
        for name in ("pretrain", "adversarial")
        if f"--{name}.steps" in flags and f"--{name}.epochs" not in flags
    }
    return replace(default, **phases)


def _check(config: "TrainConfig") -> None:
    """Raise UsageError, with the names of flags, if the configuration is not valid for any run."""
    from srgan_dist.training.config_checks import check

    try:
        check(config)
    except UsageError as error:
        raise UsageError(_with_flags(error, config)) from None


def _with_flags(error: UsageError, config: "TrainConfig") -> str:
    from srgan_dist.utils.settings.fields import leaves
    from srgan_dist.utils.settings.meant_names import with_flags

    return with_flags(str(error), [f.name for f in leaves(config)])


def _train(args: list[str], prog: str) -> int:
    if {"-h", "--help", "--help-all"} & set(args):
        with without_torch():
            _parsed(args, prog)
    from srgan_dist.training.reports.startup_timer import Startup

    startup = Startup()
    flags, config = _parsed(args, prog)
    _check(config)
    from srgan_dist.distributed.coordination import StopRequested
    from srgan_dist.training.dry_run import rehearse
    from srgan_dist.training.trainer import train

    startup.mark("imports")
    first = os.environ.get("RANK", "0") == "0"
    try:
        if flags.dry_run:
            report = rehearse(config, allow_pipe=flags.allow_pipe)
            write_out(report if first else "")
            return 0
        evaluation = train(config, startup, allow_pipe=flags.allow_pipe)
    except StopRequested as request:
        if first:
            write_error(f"stopped ({request}) after saving a checkpoint; run the same command again to resume\n")
        return STOPPED
    except UsageError as error:
        return failed(UsageError(_with_flags(error, config)))
    except BaseException as error:
        return failed(error)
    if evaluation and first:
        write_out(f"\n{evaluation.table()}\n\nComparison figure: {printable(config.run_dir / 'comparison.png')}\n")
    return 0
