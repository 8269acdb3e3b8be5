"""The entry point of `srgan COMMAND ...`: each command is the module of its name in this folder."""

import importlib
import sys
from collections.abc import Sequence

from srgan_dist import __version__
from srgan_dist.cli.console import Menu, guarded

COMMANDS = {
    "pack": "images to WebDataset shards: srgan pack SOURCE --scale 4 --out DIR",
    "shards": "verify, index, show or push packed shards: srgan shards verify DIR|URL",
    "train": "the same as `accelerate launch train.py PRESET`, for one process",
    "evaluate": "models and interpolation on held-out images, by the standard evaluation protocol",
    "upscale": "upscale images with a trained model: srgan upscale IN OUT --model RUN",
    "compare": "one HTML page: numbers, sliders, crops, curves: srgan compare RUN RUN --out report.html",
    "export": "a trained model as a file for other programs: srgan export RUN --out FILE",
    "mlflow": "open MLflow's UI on the runs of this folder",
    "track": "send what a run could not log while MLflow was away: srgan track sync RUN",
    "repro": "what gives a run again, and what differs here: srgan repro RUN [--run]",
}
"""Every command, with its line in the help."""


def main(args: Sequence[str] | None = None) -> int:
    """`srgan COMMAND ...`; returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    if args[:1] == ["--version"]:
        sys.stdout.write(f"srgan_dist {__version__}\n")
        return 0
    menu = Menu("usage: srgan COMMAND [flags]", "command", COMMANDS, "srgan COMMAND --help shows its flags.")
    if (code := menu.answer(args)) is not None:
        return code
    command = importlib.import_module(f"srgan_dist.cli.{args[0]}")
    return guarded(lambda: command.main(args[1:]))
