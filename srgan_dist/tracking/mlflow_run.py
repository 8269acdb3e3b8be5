"""Finds the MLflow run of a training run again, or creates it exactly once."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from srgan_dist.tracking.chart_page import KIND, KIND_TAG, VIEW_TAG, arrange_page, view_state
from srgan_dist.tracking.points import Steps, sanitized
from srgan_dist.tracking.server import shown
from srgan_dist.tracking.sqlite_address import sqlite_file
from srgan_dist.tracking.state import TrackingState, TrackingStateFile

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("srgan_dist")

TOKEN = "srgan.token"
"""Name of the tag that identifies a run even if the response to its creation was lost."""


def open_run(
    client: "MlflowClient", state_file: TrackingStateFile, experiment: str, name: str, made_anew: Callable[[], None]
) -> None:
    """Find or create the MLflow run, and bring the state file up to date with what the server has received.

    Args:
        made_anew: called before a run is created in place of one that is gone, so that it receives everything again.

    Raises:
        MlflowException: if the server is unreachable or refuses the request.
    """
    if state_file.now.run_id and not _exists(client, state_file.now.run_id):
        log.warning(
            "MLflow at %s has no run %s (anymore); a new run will receive all metrics",
            shown(state_file.now.tracking_uri), state_file.now.run_id,
        )  # fmt: skip
        made_anew()
        state_file.update(run_id="", sent={}, sending={}, images={}, models={})
    if not state_file.now.run_id:
        state_file.update()  # the token must be on disk before a run with it can exist
        state_file.update(
            run_id=_find_or_create(client, state_file.now.token, experiment, name, state_file.now.tracking_uri)
        )
    if state_file.now.sending:
        state_file.update(sent=state_file.now.sent | _received_steps(client, state_file), sending={})


def page_of(client: "MlflowClient", state: TrackingState) -> str:
    """Return where to view the run: its page on a server, or the command that serves a local database."""
    if not state.tracking_uri.startswith("http"):
        return f"{state.run_id} in {shown(state.tracking_uri)} (view it with: srgan mlflow)"
    experiment = client.get_run(state.run_id).info.experiment_id
    return f"{shown(state.tracking_uri).rstrip('/')}/#/experiments/{experiment}/runs/{state.run_id}"


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
        arrange_page(client, known)
        return known.experiment_id
    file = sqlite_file(uri)
    # Next to the database, not in the working directory; and below it, whatever the experiment is called.
    folder = file.parent / "mlruns" / (sanitized(name).replace("/", "_").strip(". ") or "_") if file else None
    try:
        location = folder.as_uri() if folder else None
        return client.create_experiment(name, location, {KIND_TAG: KIND, VIEW_TAG: view_state()})
    except MlflowException:  # another run has just created it
        known = client.get_experiment_by_name(name)
        if not known:
            raise
        return known.experiment_id


def _received_steps(client: "MlflowClient", state_file: TrackingStateFile) -> Steps:
    """Return the last step that the server has of each metric in an unconfirmed batch."""
    steps: Steps = {}
    for name in state_file.now.sending:
        history = client.get_metric_history(state_file.now.run_id, name)
        steps[name] = max([state_file.now.sent.get(name, -1), *(m.step for m in history)])
    return steps
