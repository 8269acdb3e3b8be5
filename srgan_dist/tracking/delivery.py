"""The MLflow requests that log each kind of item.

A request may succeed while its response is lost, so each of them can be sent again. In MLflow, parameters, tags, files
and metrics with equal time stamps are idempotent; images and tables are looked up before a retry; and models record
each completed stage in the state file.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from srgan_dist.tracking.outbox import Item
from srgan_dist.tracking.points import Point, last_steps
from srgan_dist.tracking.server import upload_timeout
from srgan_dist.tracking.state import TrackingStateFile
from srgan_dist.utils.untrusted import path_below

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PARAMS_PER_REQUEST = 100
_PARAM_LENGTH, _TAG_LENGTH = 500, 5000
"""Lengths in characters that every server accepts; the artifact `config.json` has the full values."""
_DIGEST_LENGTH = 36
TABLE = "evaluation_table.json"


class Delivery:
    """Logs to one existing MLflow run.

    Args:
        folder: the run directory, to which the paths in items are relative.
        state_file: names the MLflow run, and records what it has received.
    """

    def __init__(self, client: "MlflowClient", folder: Path, state_file: TrackingStateFile) -> None:
        self._client, self._folder, self._state_file = client, folder, state_file
        self._run = state_file.now.run_id
        self._handlers: dict[str, Callable[[Item, bool], None]] = {
            "params": self._params,
            "tags": self._tags,
            "datasets": self._datasets,
            "image": self._image,
            "artifact": self._artifact,
            "table": self._table,
            "model": self._model,
            "status": self._status,
        }

    def points(self, points: list[Point]) -> None:
        """Send one batch of metrics.

        `sending` is on disk as long as it is unknown whether the server has the batch. In the same session the batch is
        sent again with the same time stamps, which MLflow ignores. After a crash, a resumed run computes the steps
        again with new time stamps, so `open_run` first asks the server how far the batch got.
        """
        from mlflow.entities import Metric

        state_file, steps = self._state_file, last_steps(points)
        state_file.update(sending=state_file.now.sending | steps)
        self._client.log_batch(self._run, metrics=[Metric(p.name, p.value, p.time, p.step) for p in points])
        state_file.update(sent=state_file.now.sent | steps, sending={})

    def item(self, item: Item, retry: bool) -> None:
        """Send one item of the outbox.

        Args:
            retry: whether an earlier attempt may have reached the server.
        """
        handler = self._handlers.get(item.kind)
        if handler is None:
            raise ValueError(f"item {item.number} is of the unknown kind {item.kind[:40]!r}")
        handler(item, retry)

    def _params(self, item: Item, _: bool) -> None:
        from mlflow.entities import Param

        entries = [Param(k, _truncated(v, _PARAM_LENGTH)) for k, v in item.content["values"].items()]
        for start in range(0, len(entries), _PARAMS_PER_REQUEST):
            self._client.log_batch(self._run, params=entries[start : start + _PARAMS_PER_REQUEST])

    def _tags(self, item: Item, _: bool) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(k, _truncated(v, _TAG_LENGTH)) for k, v in item.content["values"].items()]
        self._client.log_batch(self._run, tags=tags)

    def _datasets(self, item: Item, _: bool) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        self._client.log_inputs(
            self._run,
            [
                DatasetInput(
                    Dataset(
                        name=d["name"],
                        digest=d["digest"][:_DIGEST_LENGTH],
                        source_type=d["source_type"],
                        source=json.dumps({"uri": d["source"]}),
                        profile=json.dumps(d["profile"] | {"manifest_sha256": d["digest"]}),
                    ),
                    [InputTag("mlflow.data.context", "training")],
                )
                for d in item.content["datasets"]
            ],
        )

    def _image(self, item: Item, retry: bool) -> None:
        key, step, time = (item.content[name] for name in ("key", "step", "time"))
        sent = self._state_file.now.images
        if step > sent.get(key, -1) and item.image.exists():  # a resumed run logs the images since its checkpoint again
            if not (retry and self._has_image(key, step, time)):
                with Image.open(item.image) as image, upload_timeout(item.image):
                    self._client.log_image(self._run, image, key=key, step=step, timestamp=time)
            self._state_file.update(images=sent | {key: step})

    def _has_image(self, key: str, step: int, time: int) -> bool:
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{time}+"  # MLflow's naming scheme
        found = [f.path for f in self._client.list_artifacts(self._run, "images") if name in f.path]
        return len(found) >= 2  # the image and its thumbnail

    def _artifact(self, item: Item, _: bool) -> None:
        file = path_below(self._folder, item.content["file"])  # the run may be somebody else's
        if file.exists():
            with upload_timeout(file):
                self._client.log_artifact(self._run, str(file), item.content["folder"])
            self._client.get_run(self._run)  # raises if a login page answers, whose status 200 MLflow took for success

    def _table(self, item: Item, _: bool) -> None:
        if TABLE not in {
            f.path for f in self._client.list_artifacts(self._run)
        }:  # otherwise MLflow would append the rows
            rows: list[dict[str, Any]] = item.content["rows"]
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: [row.get(name) for row in rows] for name in names}  # NIQE is absent from small images
            self._client.log_table(self._run, columns, TABLE)

    def _model(self, item: Item, _: bool) -> None:
        from srgan_dist.tracking.model_logging import log_model

        log_model(self._client, self._state_file, self._folder, item.content)

    def _status(self, item: Item, _: bool) -> None:
        status, time = item.content["status"], item.content["time"]
        if status == "RUNNING":
            self._client.update_run(self._run, status=status)
        else:
            self._client.set_terminated(self._run, status, end_time=time)


def _truncated(value: Any, length: int) -> str:
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"
