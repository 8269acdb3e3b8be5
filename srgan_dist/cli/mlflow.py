"""`srgan mlflow`: the MLflow UI on the runs of this folder."""

import os
import sys


def main(args: list[str]) -> int:
    """`srgan mlflow [flags of mlflow ui]`; becomes the server and does not return."""
    from srgan_dist.tracking.server import shown, tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        raise ValueError(f"the runs are on a server: open {shown(uri)} in a browser")
    # Without what runs jobs it takes two processes and half the memory.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *args])
