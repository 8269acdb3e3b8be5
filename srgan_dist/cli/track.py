"""`srgan track sync RUN`: send what a run could not send while its tracking server was unavailable."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import FAILED, Menu
from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.utils.terminal import printable, write_out

if TYPE_CHECKING:
    from srgan_dist.tracking.outbox import Outbox

ACTIONS = {"sync": "send the unsent data in a run directory: srgan track sync RUN"}


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """Send the metrics and files that a run could not send while its tracking server was unavailable."""

    run: Positional[Path]
    """Run directory. The data is sent to MLFLOW_TRACKING_URI if it is set, or else to the run's own server."""


def main(args: list[str]) -> int:
    """Run `srgan track ACTION ...`, and return the exit code."""
    menu = Menu(
        "usage: srgan track ACTION RUN", "action", ACTIONS, "srgan track ACTION --help lists the flags of an action."
    )
    if (code := menu.answer(args)) is not None:
        return code
    from srgan_dist.utils.progress import start_logging

    options = parse(SyncOptions, args[1:], "srgan track sync")
    start_logging(True)
    report, complete = sync(options)
    write_out(f"{printable(report)}\n")
    return 0 if complete else FAILED


def sync(options: SyncOptions) -> tuple[str, bool]:
    """Send all unsent data of a run; return a one-line report, and whether nothing is left.

    Raises:
        ValueError: If `run` is not a run directory, another process is training it or sending its data, or the server
            cannot be reached or rejects the data.
    """
    from srgan_dist.tracking import server
    from srgan_dist.tracking.outbox import Outbox
    from srgan_dist.tracking.sender import Sender
    from srgan_dist.tracking.tracker import FOLDER
    from srgan_dist.training.config import read_config
    from srgan_dist.utils.jsonl import Journal

    run = options.run
    if not (run / "config.json").is_file():
        raise ValueError(f"{run}: not a run directory (no config.json)")
    tracking, uri = read_config(run / "config.json").tracking, server.uri_of(run)
    outbox = Outbox(run / FOLDER / "outbox", tracking.buffer << 20)
    sender = Sender(run, uri, tracking.experiment, outbox, Journal(run / FOLDER / "points.jsonl"))
    try:
        with sender.exclusive():
            server.check_server(uri)
            _close_a_killed_run(run, outbox)
            before = outbox.count()
            sender.send()
    except ValueError:
        raise
    except Exception as error:  # MLflow and its dependencies raise anything
        raise ValueError(f"{run}: not sent to {server.shown(uri)}: {server.reason(error)}") from None
    complete = not sender.waiting()
    left = "; nothing is left" if complete else f"; {outbox.count()} items could not be sent: run the command again"
    sent = f"sent {sender.points} metric values and {before - outbox.count()} other items"
    return f"{run}: {sent}{left}; MLflow run {sender.state_file.now.run_id}", complete


def _close_a_killed_run(run: Path, outbox: "Outbox") -> None:
    """Queue the status KILLED for a run whose status is `running`: no process trains it, so its process was killed."""
    from srgan_dist.tracking.tracker import now

    file = run / "status.json"
    if file.exists() and json.loads(file.read_text("utf-8"))["state"] == "running":
        outbox.put("status", {"status": "KILLED", "time": now()})
