"""The entry point of `srgan COMMAND ...`. Each command is the module of the same name in this folder."""

import importlib
import sys
from collections.abc import Sequence

from srgan_dist import __version__
from srgan_dist.cli.console import Menu, guarded, run_program
from srgan_dist.utils.terminal import write_out

COMMANDS = {
    "pack": "pack images into shards: srgan pack SOURCE --scale 4 --out DIR",
    "shards": "verify, index, show or push shards: srgan shards verify DIR|URL",
    "train": "train in one process: srgan train PRESET",
    "config": "write a preset to edit: srgan config PRESET --out FILE.yaml",
    "evaluate": "score models: srgan evaluate --data DIR --models RUN RUN",
    "upscale": "upscale images: srgan upscale IN OUT --model RUN",
    "compare": "compare models on a page: srgan compare RUN RUN --out FILE.html",
    "export": "export a model for other programs: srgan export RUN --out FILE",
    "status": "show how far runs have come: srgan status RUN ...",
    "mlflow": "open MLflow with the runs of this folder: srgan mlflow",
    "track": "send what MLflow has not received yet: srgan track sync RUN",
    "repro": "show how to reproduce a run, and what differs: srgan repro RUN",
}
"""The commands and their descriptions in the help text."""


def main(args: Sequence[str] | None = None) -> int:
    """Run `srgan COMMAND ...`, and return the exit code."""
    chosen = list(sys.argv[1:] if args is None else args)
    return run_program(lambda: _run(chosen))


def _run(args: list[str]) -> int:
    if args[:1] == ["--version"]:
        write_out(f"srgan_dist {__version__}\n")
        return 0
    menu = Menu(
        "usage: srgan COMMAND [flags]", "command", COMMANDS, "srgan COMMAND --help lists the flags of a command."
    )
    if (code := menu.answer(args or ["--help"])) is not None:
        return code
    command = importlib.import_module(f"srgan_dist.cli.{args[0]}")
    return guarded(lambda: command.main(args[1:]))
