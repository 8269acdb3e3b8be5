"""MLflow, fed by a thread so that training never waits for it. DESIGN decision 7; the only home of mlflow."""

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from srgan_dist.config import TrackingConfig
from srgan_dist.data.format import write_json
from srgan_dist.resize import Pixels

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("srgan_dist")
Outcome = Literal["FINISHED", "FAILED", "KILLED"]
_Work = Callable[["MlflowClient", str], None]


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or `mlflow.db` in the working directory: where a plain `mlflow ui` looks."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd()}/mlflow.db"


class Tracker:
    """One MLflow run per training run, continued when training is resumed.

    Nothing here raises or blocks: if MLflow fails, one warning says so and training goes on with
    `metrics.jsonl` alone.

    Args:
        folder: the run directory; `mlflow.json` in it remembers the MLflow run.
        params: the flat configuration.
    """

    def __init__(self, config: TrackingConfig, folder: Path, params: dict[str, Any]) -> None:
        self._config, self._folder, self._params = config, folder, params
        self._work: queue.Queue[_Work | None] = queue.Queue()
        self._broken = not config.enabled
        self._thread = threading.Thread(target=self._send, name="mlflow", daemon=True)
        self._thread.start()

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Logs numbers under a step (generator updates)."""
        from time import time_ns

        now = time_ns() // 1_000_000

        def send(client: "MlflowClient", run: str) -> None:
            from mlflow.entities import Metric

            client.log_batch(run, metrics=[Metric(k, float(v), now, step) for k, v in values.items()])

        self._do(send)

    def image(self, name: str, image: Pixels, step: int) -> None:
        """Logs a picture that MLflow's image view steps through."""
        self._do(lambda client, run: client.log_image(run, image, key=name, step=step))

    def artifact(self, file: Path, folder: str | None = None) -> None:
        """Uploads a file."""
        self._do(lambda client, run: client.log_artifact(run, str(file), folder))

    def close(self, outcome: Outcome) -> None:
        """Sends what is left, at most for a minute, and sets the run's status."""
        self._do(lambda client, run: client.set_terminated(run, outcome))
        self._work.put(None)
        self._thread.join(timeout=60)

    def _do(self, work: _Work) -> None:
        if not self._broken:
            self._work.put(work)

    def _send(self) -> None:
        if self._broken:
            return
        try:
            client, run = _open(self._config, self._folder, self._params)
            while work := self._work.get():
                work(client, run)
        except Exception as error:  # any library below MLflow may raise; training must not notice
            self._broken = True
            log.warning("MLflow stopped taking data (%s); training goes on, metrics.jsonl has everything", error)


def _open(config: TrackingConfig, folder: Path, params: dict[str, Any]) -> tuple["MlflowClient", str]:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient  # seconds of importing, so it happens on this thread

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    memory = folder / "mlflow.json"
    if memory.exists():
        known = json.loads(memory.read_text())
        client = MlflowClient(known["tracking_uri"])
        client.update_run(known["run_id"], status="RUNNING")
        return client, known["run_id"]
    uri = tracking_uri()
    client = MlflowClient(uri)
    run = client.create_run(_experiment(client, config.experiment, uri), run_name=folder.name).info.run_id
    write_json({"tracking_uri": uri, "run_id": run}, memory)
    _log_params(client, run, params)
    return client, run


def _experiment(client: "MlflowClient", name: str, uri: str) -> str:
    known = client.get_experiment_by_name(name)
    if known:
        return known.experiment_id
    local = uri.startswith("sqlite:///")
    folder = Path(uri.removeprefix("sqlite:///")).parent / "mlruns" if local else None
    return client.create_experiment(name, artifact_location=folder.as_uri() + f"/{name}" if folder else None)


def _log_params(client: "MlflowClient", run: str, params: dict[str, Any]) -> None:
    from mlflow.entities import Param

    entries = [Param(k, str(v)[:6000]) for k, v in params.items()]
    for start in range(0, len(entries), 100):
        client.log_batch(run, params=entries[start : start + 100])
    client.set_tag(run, "started", time.strftime("%Y-%m-%d %H:%M:%S"))
