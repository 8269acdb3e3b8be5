"""`srgan track sync RUN`: sends what a run could not send while its server was away."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import show_list, unknown
from srgan_dist.cli.parsing import Positional, parse

if TYPE_CHECKING:
    from srgan_dist.tracking.outbox import Outbox

ACTIONS = {"sync": "send what waits in a run directory: srgan track sync RUN"}


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """Whose numbers and files are sent."""

    run: Positional[Path]
    """A run directory. MLFLOW_TRACKING_URI, if set, says where to; else the server that the run had."""


def main(args: list[str]) -> int:
    """`srgan track ACTION ...`; returns the exit code."""
    if not args or args[0] in ("-h", "--help"):
        return show_list(
            "usage: srgan track ACTION RUN", "actions", ACTIONS, "srgan track ACTION --help shows its flags."
        )
    if args[0] not in ACTIONS:
        return unknown("action", args[0], ACTIONS)
    from srgan_dist.utils.progress import start_logging

    options = parse(SyncOptions, args[1:], "srgan track sync")
    start_logging(True)
    sys.stdout.write(f"{sync(options)}\n")
    return 0


def sync(options: SyncOptions) -> str:
    """Sends everything that waits and says what became of it.

    Raises:
        ValueError: not a run directory, being trained or sent by another process, or the server is away or refuses.
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
    except server.UnreachableError as error:
        raise ValueError(f"{run}: not sent to {server.shown(uri)}: {error}") from None
    left = f"; {outbox.count()} could not be sent" if outbox.count() else ", nothing is left"
    sent = f"{sender.points} numbers and {before - outbox.count()} other things sent"
    return f"{run}: {sent}{left}; MLflow run {sender.state_file.now.run_id}"


def _close_a_killed_run(run: Path, outbox: "Outbox") -> None:
    """Nobody trains it, so a status of `running` is that of a process that was killed."""
    from srgan_dist.tracking.tracker import now

    file = run / "status.json"
    if file.exists() and json.loads(file.read_text())["state"] == "running":
        outbox.put("status", {"status": "KILLED", "time": now()})
