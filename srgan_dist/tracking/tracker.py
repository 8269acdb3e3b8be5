"""The tracker that training logs to: it writes to the run directory immediately, and a thread sends it to MLflow."""

import io
import logging
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from srgan_dist.imaging.images import Pixels
from srgan_dist.tracking import server
from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.tracking.main_parameters import main_first
from srgan_dist.tracking.outbox import Outbox
from srgan_dist.tracking.points import sanitized
from srgan_dist.tracking.sender import Sender
from srgan_dist.tracking.state import FILE
from srgan_dist.utils.jsonl import Journal

log = logging.getLogger("srgan_dist")
Outcome = Literal["FINISHED", "FAILED", "KILLED"]

FOLDER = "tracking"
"""Folder in the run directory for data that has not been sent."""
_UNREACHABLE_WAIT = 5.0
"""Seconds that `close` waits since the last progress while the server is unreachable."""
_PROGRESS_WAIT = 30.0
"""Seconds that `close` waits since the last progress otherwise."""
_TOTAL_WAIT, _KILLED_WAIT = 300.0, 8.0
"""Seconds that `close` waits at most; and if the run was stopped, since a scheduler may kill the process soon."""


class Dataset(NamedTuple):
    """A data set that MLflow links to the run."""

    name: str
    """Name of its folder."""
    digest: str
    """SHA-256 of the manifest."""
    source: str
    """Folder or URL."""
    profile: dict[str, Any]
    """Numbers of samples, and how they were created."""

    @property
    def source_type(self) -> str:
        """URL scheme of the source; `local` for a folder."""
        return self.source.split("://")[0] if "://" in self.source else "local"


class Tracker:
    """Logs a training run to one MLflow run, which continues when training is resumed.

    No method raises or waits for the network: metrics are kept in `metrics.jsonl` and everything else in the folder
    `tracking` until the server has received it. Only `close` waits, for a limited time, and then logs the command that
    sends the rest.

    Args:
        config: if it is not `enabled`, all methods do nothing.
        folder: the run directory; its `mlflow.json` identifies the MLflow run.
        params: the flattened configuration.
        tags: further facts about the run.
        datasets: the data that the run is trained and evaluated on.
    """

    def __init__(
        self, config: TrackingConfig, folder: Path, params: dict[str, Any],
        tags: dict[str, Any] | None = None, datasets: Sequence[Dataset] = (),
    ) -> None:  # fmt: skip
        self._config, self._folder = config, folder
        self._outbox = Outbox(folder / FOLDER / "outbox", config.buffer << 20)
        self._journal = Journal(folder / FOLDER / "points.jsonl")
        self._sender: Sender | None = None
        self._thread: threading.Thread | None = None
        if not config.enabled:
            return
        uri = server.uri_of(folder)
        self._sender = Sender(folder, uri, config.experiment, self._outbox, self._journal)
        values = {name: str(value) for name, value in main_first(params).items()}
        if not self._sender.state_file.now.run_id:
            self._put("params", values=values)
        else:
            self._outbox.keep("params", {"values": values})
        with suppress(OSError):  # a full disk, about which the outbox warns
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self._put("tags", values={"started": time.strftime("%Y-%m-%d %H:%M:%S")} | (tags or {}))
        self._put("status", status="RUNNING", time=now())
        if datasets:
            self._put("datasets", datasets=[d._asdict() | {"source_type": d.source_type} for d in datasets])

    def start(self) -> None:
        """Start sending. From now on, lines of `metrics.jsonl` must not change: they may have been sent already."""
        if self._sender and not self._thread:
            self._thread = threading.Thread(target=self._sender.run, name="mlflow", daemon=True)
            self._thread.start()

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Log metrics that are not in `metrics.jsonl`, at a step of the generator."""
        if self._sender:
            numbers = {name: float(value) for name, value in values.items()}
            self._journal.append({"step": step, "time": now() / 1000} | numbers)

    def image(self, name: str, image: Pixels, step: int) -> None:
        """Log an image; MLflow's image view steps through the images of the same name."""
        if self._sender:
            self._put("image", _png(image), key=sanitized(name), step=step, time=now())

    def artifact(self, file: Path, folder: str | None = None) -> None:
        """Upload a file of the run directory, with the content that it has when it is sent."""
        self._put("artifact", file=str(file.relative_to(self._folder)), folder=folder)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run, which MLflow shows in its table of runs."""
        self._put("tags", values={sanitized(name): value for name, value in values.items()})

    def table(self, rows: list[dict[str, Any]]) -> None:
        """Log a table that MLflow shows under the run's evaluations; only the first call has an effect."""
        self._put("table", rows=rows)

    def model(self, file: Path, label: str, scale: int, step: int, scores: Mapping[str, float] | None = None) -> None:
        """Log a generator of the run directory as an MLflow model, and register it if `config.register` is set."""
        name = str(file.relative_to(self._folder))
        register, time_ = self._config.register or "", now()
        self._put(
            "model",
            file=name,
            label=label,
            scale=scale,
            step=step,
            time=time_,
            scores=dict(scores or {}),
            register=register,
        )

    def close(self, outcome: Outcome) -> bool:
        """Set the run's status and send what is left, while there is progress; return whether everything was sent."""
        if not self._sender:
            return True
        self._put("status", status=outcome, time=now())
        self.start()
        self._sender.close()
        self._wait(self._sender, _KILLED_WAIT if outcome == "KILLED" else _TOTAL_WAIT)
        self._sender.abandon()
        complete = not self._sender.waiting()
        if not complete:
            address, command = server.shown(self._sender.uri), f"srgan track sync {self._folder}"
            log.warning("not everything reached MLflow at %s; send the rest with: %s", address, command)
        return complete

    def _wait(self, sender: Sender, total: float) -> None:
        assert self._thread
        started = time.monotonic()
        while self._thread.is_alive():
            without_progress = _UNREACHABLE_WAIT if sender.outage else _PROGRESS_WAIT
            current = time.monotonic()
            if current - started > total or current - max(started, sender.last_sent) > without_progress:
                return
            self._thread.join(timeout=0.1)

    def _put(self, kind: str, image: bytes = b"", **content: Any) -> None:
        if self._sender:
            self._outbox.put(kind, content, image)


def detach(folder: Path) -> None:
    """Detach a run directory from its MLflow run, deleting unsent data: the next training in it is a new run."""
    (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _png(image: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def now() -> int:
    """Return the milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
