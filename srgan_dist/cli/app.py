"""The entry point of `srgan COMMAND ...`. Each command is the module of the same name in this folder."""

import importlib
import sys
from collections.abc import Sequence

from srgan_dist import __version__
from srgan_dist.cli.console import Menu, guarded, run_program
from srgan_dist.utils.terminal import write_out

COMMANDS = {
    "pack": "pack images into WebDataset shards: srgan pack SOURCE --scale 4 --out DIR",
    "shards": "verify, index, show or push packed shards: srgan shards verify DIR|URL",
    "train": "train a preset in one process, like `accelerate launch train.py PRESET`",
    "config": "write a preset as a commented file to edit: srgan config PRESET --out FILE.yaml",
    "evaluate": "evaluate models and interpolation: srgan evaluate --data DIR --models RUN",
    "upscale": "upscale images with a trained model: srgan upscale IN OUT --model RUN",
    "compare": "compare models on one HTML page: srgan compare RUN RUN --out report.html",
    "export": "export a trained model for other programs: srgan export RUN --out FILE",
    "status": "show how far runs have come, and what is left: srgan status RUN ...",
    "mlflow": "open the MLflow UI with the runs of this folder",
    "track": "send what could not be logged while MLflow was unavailable: srgan track sync RUN",
    "repro": "show how to reproduce a run, and what differs here: srgan repro RUN [--run]",
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
