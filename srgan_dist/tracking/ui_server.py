"""MLflow's UI: the experiments that contain training runs, and the server that shows those of a local database."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import NamedTuple

from srgan_dist.tracking.chart_page import arrange_page
from srgan_dist.tracking.mlflow_run import TOKEN
from srgan_dist.tracking.server import connect, reason, shown
from srgan_dist.tracking.sqlite_address import sqlite_file

_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Without job execution, the server needs only two processes and half of the memory."""
_START_SECONDS = 120.0
_MOST = 100
"""Number of experiments that are looked at, the ones last changed first."""


class Page(NamedTuple):
    """The page of an experiment."""

    name: str
    """Name of the experiment."""
    experiment: str
    """Its ID."""


def find_pages(uri: str) -> list[Page]:
    """Return the experiments that contain training runs, the one with the latest run first, and arrange their pages.

    Raises:
        ValueError: there is no database at the address, or it cannot be read.
    """
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise ValueError(
            f"there is no MLflow database here ({file}): train something first, change to the folder that you trained "
            "in, or set MLFLOW_TRACKING_URI"
        )
    try:
        client = connect(uri)
        latest: list[tuple[int, Page]] = []
        for experiment in client.search_experiments(max_results=_MOST):
            number = experiment.experiment_id
            runs = client.search_runs([number], f"tags.`{TOKEN}` != ''", max_results=1)
            if runs:
                arrange_page(client, experiment)
                latest.append((runs[0].info.start_time, Page(experiment.name, number)))
    except Exception as error:  # MLflow and its dependencies raise anything
        raise ValueError(f"MLflow at {shown(uri)} cannot be read ({reason(error)})") from None
    return [page for _, page in sorted(latest, key=lambda entry: -entry[0])]


def serve(uri: str, host: str, port: int, args: Sequence[str], announce: Callable[[str], None]) -> int:
    """Run MLflow's server until it ends; return its exit code.

    Args:
        uri: Address of the database.
        host: Address to listen on.
        port: Port to listen on.
        args: Further flags of `mlflow server`.
        announce: Called with the server's address once it answers.

    Raises:
        ValueError: the port is in use.
    """
    local = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    if _answers(local, port):
        raise ValueError(f"port {port} of {local} is in use; choose another one with --port")
    where = ("--host", host, "--port", str(port), "--backend-store-uri", uri)
    process = subprocess.Popen([sys.executable, "-m", "mlflow", "server", *where, *args], env=_QUIET | os.environ)
    address = f"http://{local}:{port}"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (healthy := _is_healthy(address)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        if healthy:
            announce(address)
        return process.wait()
    finally:
        if process.poll() is None:  # interrupted
            process.terminate()
            process.wait()


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
