"""`srgan train PRESET`, the same as `train.py PRESET`: parse the configuration and train."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import STOPPED, WRONG_USAGE, Menu, failed, guarded
from srgan_dist.training.preset_names import SUMMARIES

if TYPE_CHECKING:
    from srgan_dist.training.config import TrainConfig


def main(args: list[str]) -> int:
    """Run `srgan train PRESET ...`, and return the exit code."""
    return train_main(args)


def train_main(args: Sequence[str] | None = None) -> int:
    """Run `train.py PRESET [flags]`, and return the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    hint = "PRESET --help lists every flag with the preset's values; --dry-run runs a few steps and estimates the rest."
    usage = "usage: accelerate launch train.py PRESET [--dry-run] [flags]   (or --config FILE instead of PRESET)"
    if args[:1] != ["--config"] and (code := Menu(usage, "preset", SUMMARIES, hint).answer(args)) is not None:
        return code
    return guarded(lambda: _train(args))


def _steps_for_epochs(default: "TrainConfig", args: list[str]) -> "TrainConfig":
    """Return the preset without the epochs of phases whose steps the command line sets."""
    flags = {arg.split("=")[0] for arg in args}
    phases = {
        name: replace(getattr(default, name), epochs=None)
        for name in ("pretrain", "adversarial")
        if f"--{name}.steps" in flags and f"--{name}.epochs" not in flags
    }
    return replace(default, **phases)


def _train(args: list[str]) -> int:
    from srgan_dist.training.startup_timer import Startup

    startup = Startup()
    from srgan_dist.cli.parsing import parse
    from srgan_dist.training.config import TrainConfig, read_config
    from srgan_dist.training.presets import preset

    if args[0] == "--config":
        if len(args) < 2:
            sys.stderr.write("error: --config needs a file: --config FILE [flags]\n")
            return WRONG_USAGE
        default, prog, rest = read_config(Path(args[1])), "train.py", args[2:]
    else:
        default, prog, rest = preset(args[0]), f"train.py {args[0]}", args[1:]
    # Neither is a field of the configuration: a file from somebody else must not allow shell commands.
    dry_run, allow_pipe = "--dry-run" in rest, "--allow-pipe" in rest
    rest = [arg for arg in rest if arg not in ("--dry-run", "--allow-pipe")]
    config: TrainConfig = parse(
        TrainConfig, rest, f"{prog} [--dry-run] [--allow-pipe]", _steps_for_epochs(default, rest)
    )
    from srgan_dist.distributed.coordination import StopRequested
    from srgan_dist.training.dry_run import rehearse
    from srgan_dist.training.trainer import train

    startup.mark("imports")
    first = os.environ.get("RANK", "0") == "0"
    try:
        if dry_run:
            report = rehearse(config, allow_pipe=allow_pipe)
            sys.stdout.write(report if first else "")
            return 0
        evaluation = train(config, startup, allow_pipe=allow_pipe)
    except StopRequested as request:
        if first:
            sys.stderr.write(f"stopped ({request}) after saving a checkpoint; run the same command again to resume\n")
        return STOPPED
    except BaseException as error:
        return failed(error)
    if evaluation and first:
        sys.stdout.write(f"\n{evaluation.table()}\n\nComparison figure: {config.run_dir / 'comparison.png'}\n")
    return 0
