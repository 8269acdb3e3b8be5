"""The MLflow run of a training: found again, or made once."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.tracking.points import Steps
from srgan_dist.tracking.server import shown
from srgan_dist.tracking.state import Keeper, Memory

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("srgan_dist")

TOKEN = "srgan.token"


def open_run(client: "MlflowClient", keeper: Keeper, experiment: str, name: str) -> None:
    """Sees to it that the run exists and `keeper` knows how far it has got.

    Raises:
        MlflowException: the server is away or refuses.
    """
    if keeper.now.run_id and not _exists(client, keeper.now.run_id):
        log.warning("MLflow has no run %s at %s; a new one gets all numbers", keeper.now.run_id, _where(keeper))
        keeper.change(run_id="", sent={}, sending={}, pictures={}, models={})
    if not keeper.now.run_id:
        keeper.change()  # the token is on disk before the run can be
        keeper.change(run_id=_find_or_create(client, keeper.now.token, experiment, name, keeper.now.tracking_uri))
    if keeper.now.sending:
        keeper.change(sent=keeper.now.sent | _arrived(client, keeper), sending={})


def page_of(client: "MlflowClient", memory: Memory) -> str:
    """Return where people see the run: its page on a server, or the command that shows a local database."""
    if not memory.tracking_uri.startswith("http"):
        return f"{memory.run_id} in {shown(memory.tracking_uri)} (srgan mlflow shows it)"
    experiment = client.get_run(memory.run_id).info.experiment_id
    return f"{shown(memory.tracking_uri).rstrip('/')}/#/experiments/{experiment}/runs/{memory.run_id}"


def _where(keeper: Keeper) -> str:
    return shown(keeper.now.tracking_uri)


def _exists(client: "MlflowClient", run: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _find_or_create(client: "MlflowClient", token: str, experiment: str, name: str, uri: str) -> str:
    number = _experiment(client, experiment, uri)
    found = client.search_runs([number], filter_string=f"tags.`{TOKEN}` = '{token}'", max_results=1)
    if found:
        return found[0].info.run_id
    tags = {TOKEN: token, "mlflow.source.type": "LOCAL"}
    return client.create_run(number, time.time_ns() // 1_000_000, tags, run_name=name).info.run_id


def _experiment(client: "MlflowClient", name: str, uri: str) -> str:
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known:
        return known.experiment_id
    local = uri.startswith("sqlite:///")
    folder = Path(uri.removeprefix("sqlite:///")).parent / "mlruns" if local else None  # not in the working directory
    try:
        return client.create_experiment(name, artifact_location=f"{folder.as_uri()}/{name}" if folder else None)
    except MlflowException:  # another run has just made it
        known = client.get_experiment_by_name(name)
        if not known:
            raise
        return known.experiment_id


def _arrived(client: "MlflowClient", keeper: Keeper) -> Steps:
    """How far the numbers of an unconfirmed batch have really got."""
    steps: Steps = {}
    for name in keeper.now.sending:
        history = client.get_metric_history(keeper.now.run_id, name)
        steps[name] = max([keeper.now.sent.get(name, -1), *(m.step for m in history)])
    return steps
