"""`srgan mlflow`: open the MLflow UI with the runs of this folder."""

import os
import sys
from typing import NoReturn

from srgan_dist.cli.console import show_list


def main(args: list[str]) -> int:
    """Replace this process by `mlflow ui`, or print the help text and return the exit code."""
    if args and args[0] in ("-h", "--help"):
        flags = {
            "--port PORT": "5000 by default",
            "--host ADDRESS": "127.0.0.1 by default, which only this machine can reach",
        }
        hint = "All flags are passed on to `mlflow ui`; `mlflow ui --help` lists them."
        return show_list("usage: srgan mlflow [flags of mlflow ui]", "flags", flags, hint)
    return _become_server(args)


def _become_server(args: list[str]) -> NoReturn:
    from srgan_dist.tracking.server import shown, tracking_uri
    from srgan_dist.utils.cache_folder import provide_home

    uri = tracking_uri()
    if uri.startswith("http"):
        raise ValueError(f"the runs are tracked on a server; open {shown(uri)} in a browser")
    provide_home()
    # Without job execution, the server needs only two processes and half of the memory.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *args])
