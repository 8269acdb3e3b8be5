"""How each kind of thing reaches MLflow. Everything here may be repeated: the answer to a request can get lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from srgan_dist.tracking.outbox import Item
from srgan_dist.tracking.points import Point, last_steps
from srgan_dist.tracking.server import patience_for
from srgan_dist.tracking.state import TrackingStateFile

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PARAMS_AT_ONCE = 100
_PARAM_LENGTH, _TAG_LENGTH = 500, 5000
"""Characters that every server takes; longer values are whole in the artifact `config.json`."""
_DIGEST_LENGTH = 36
TABLE = "evaluation_table.json"


class Delivery:
    """A connection to one MLflow run.

    Args:
        folder: the run directory, on which files are given relative.
        keeper: what has arrived; its run exists.
    """

    def __init__(self, client: "MlflowClient", folder: Path, state_file: TrackingStateFile) -> None:
        self._client, self._folder, self._keeper = client, folder, state_file
        self._run = state_file.now.run_id
        self._kinds: dict[str, Callable[[Item, bool], None]] = {
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
        """A batch of numbers; MLflow drops what it has with the same time already."""
        from mlflow.entities import Metric

        state_file, steps = self._keeper, last_steps(points)
        state_file.change(sending=state_file.now.sending | steps)
        self._client.log_batch(self._run, metrics=[Metric(p.name, p.value, p.time, p.step) for p in points])
        state_file.change(sent=state_file.now.sent | steps, sending={})

    def item(self, item: Item, again: bool) -> None:
        """Anything else.

        Args:
            again: it may have arrived already.
        """
        self._kinds[item.kind](item, again)

    def _params(self, item: Item, _: bool) -> None:
        from mlflow.entities import Param

        entries = [Param(k, _cut(v, _PARAM_LENGTH)) for k, v in item.content["values"].items()]
        for start in range(0, len(entries), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run, params=entries[start : start + _PARAMS_AT_ONCE])

    def _tags(self, item: Item, _: bool) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(k, _cut(v, _TAG_LENGTH)) for k, v in item.content["values"].items()]
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

    def _image(self, item: Item, again: bool) -> None:
        key, step, time = (item.content[name] for name in ("key", "step", "time"))
        images = self._keeper.now.images
        if step > images.get(key, -1) and item.image.exists():
            if not (again and self._has_image(key, step, time)):
                with Image.open(item.image) as image, patience_for(item.image):
                    self._client.log_image(self._run, image, key=key, step=step, timestamp=time)
            self._keeper.change(images=self._keeper.now.images | {key: step})

    def _has_image(self, key: str, step: int, time: int) -> bool:
        sign = f"{key.replace('/', '~')}+step+{step}+timestamp+{time}+"
        found = [f.path for f in self._client.list_artifacts(self._run, "images") if sign in f.path]
        return len(found) >= 2  # the image and its small copy

    def _artifact(self, item: Item, _: bool) -> None:
        file = self._folder / item.content["file"]
        if file.exists():
            with patience_for(file):
                self._client.log_artifact(self._run, str(file), item.content["folder"])

    def _table(self, item: Item, _: bool) -> None:
        if TABLE not in {f.path for f in self._client.list_artifacts(self._run)}:  # MLflow would append to it
            rows: list[dict[str, Any]] = item.content["rows"]
            self._client.log_table(self._run, {name: [row[name] for row in rows] for name in rows[0]}, TABLE)

    def _model(self, item: Item, _: bool) -> None:
        from srgan_dist.tracking.model_logging import log_model

        log_model(self._client, self._keeper, self._folder, item.content)

    def _status(self, item: Item, _: bool) -> None:
        status, time = item.content["status"], item.content["time"]
        if status == "RUNNING":
            self._client.update_run(self._run, status=status)
        else:
            self._client.set_terminated(self._run, status, end_time=time)


def _cut(value: Any, length: int) -> str:
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"
