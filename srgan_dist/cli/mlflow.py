"""`srgan mlflow`: the MLflow UI on the runs of this folder."""

import os
import sys
from typing import NoReturn

from srgan_dist.cli.console import show_list


def main(args: list[str]) -> int:
    """`srgan mlflow [flags of mlflow ui]`; returns the exit code of its help, else becomes the server."""
    if args and args[0] in ("-h", "--help"):
        flags = {"--port PORT": "5000 if not given", "--host ADDRESS": "this machine only if not given"}
        hint = "All other flags of `mlflow ui` are passed on to it; `mlflow ui --help` lists them."
        return show_list("usage: srgan mlflow [flags of mlflow ui]", "flags", flags, hint)
    return _become_server(args)


def _become_server(args: list[str]) -> NoReturn:
    from srgan_dist.tracking.server import shown, tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        raise ValueError(f"the runs are on a server: open {shown(uri)} in a browser")
    # Without what runs jobs it takes two processes and half the memory.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *args])
