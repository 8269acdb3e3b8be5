"""What training calls: everything is written to the run directory at once, and sent by a thread."""

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
from srgan_dist.tracking.outbox import Outbox
from srgan_dist.tracking.points import allowed
from srgan_dist.tracking.sender import Sender
from srgan_dist.tracking.state import FILE
from srgan_dist.utils.jsonl import Journal

log = logging.getLogger("srgan_dist")
Outcome = Literal["FINISHED", "FAILED", "KILLED"]

FOLDER = "tracking"
"""Where a run directory keeps what waits."""
_WAIT_AWAY, _WAIT_MOVING, _WAIT_LONGEST = 5.0, 30.0, 300.0
_WAIT_KILLED = 8.0
"""Seconds that `close` waits: without a server; since something was sent; at all; when a stop was asked for."""


class Dataset(NamedTuple):
    """What MLflow says of a run's data."""

    name: str
    digest: str
    """SHA-256 of the manifest."""
    source: str
    """Folder or URL."""
    profile: dict[str, Any]
    """Counts, and how it was made."""

    @property
    def source_type(self) -> str:
        """Where it is, in a word."""
        return self.source.split("://")[0] if "://" in self.source else "local"


class Tracker:
    """One MLflow run per training run, continued when training is resumed.

    Nothing here raises or blocks: numbers stand in `metrics.jsonl`, all else in the folder `tracking`, until the server
    has them. `close` waits, but not for long, and names the command that sends the rest.

    Args:
        folder: the run directory; `mlflow.json` in it remembers the MLflow run.
        params: the flat configuration.
        tags: what else describes the run.
        datasets: what it is trained and evaluated on.
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
        if not self._sender.state_file.now.run_id:
            self._put("params", values={name: str(value) for name, value in params.items()})
        with suppress(OSError):  # a full disk; the outbox says so
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self._put("tags", values={"started": time.strftime("%Y-%m-%d %H:%M:%S")} | (tags or {}))
        self._put("status", status="RUNNING", time=now())
        if datasets:
            self._put("datasets", datasets=[d._asdict() | {"source_type": d.source_type} for d in datasets])

    def start(self) -> None:
        """Begins to send; from here on lines of `metrics.jsonl` count as final."""
        if self._sender and not self._thread:
            self._thread = threading.Thread(target=self._sender.run, name="mlflow", daemon=True)
            self._thread.start()

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Logs numbers that are not in `metrics.jsonl`, under a step (generator updates)."""
        if self._sender:
            numbers = {name: float(value) for name, value in values.items()}
            self._journal.append({"step": step, "time": now() / 1000} | numbers)

    def image(self, name: str, image: Pixels, step: int) -> None:
        """Logs an image that MLflow's image view steps through."""
        if self._sender:
            self._put("image", _png(image), key=allowed(name), step=step, time=now())

    def artifact(self, file: Path, folder: str | None = None) -> None:
        """Uploads a file of the run directory, as it is when it is sent."""
        self._put("artifact", file=str(file.relative_to(self._folder)), folder=folder)

    def table(self, rows: list[dict[str, Any]]) -> None:
        """Logs a table that MLflow shows under the run's evaluations; the first one counts."""
        self._put("table", rows=rows)

    def model(self, file: Path, label: str, scale: int, step: int, scores: Mapping[str, float] | None = None) -> None:
        """Logs a generator of the run directory as an MLflow model, registered if the configuration says so."""
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
        """Sends what is left, as long as that goes on, and sets the run's status; whether everything has arrived."""
        if not self._sender:
            return True
        self._put("status", status=outcome, time=now())
        self.start()
        self._sender.close()
        self._wait(self._sender, _WAIT_KILLED if outcome == "KILLED" else _WAIT_LONGEST)
        self._sender.abandon()
        arrived = not self._sender.waiting()
        if not arrived:
            where, command = server.shown(self._sender.uri), f"srgan track sync {self._folder}"
            log.warning("MLflow at %s has not got everything; send the rest with: %s", where, command)
        return arrived

    def _wait(self, sender: Sender, longest: float) -> None:
        assert self._thread
        began = time.monotonic()
        while self._thread.is_alive():
            patience = _WAIT_AWAY if sender.away else _WAIT_MOVING
            at = time.monotonic()
            if at - began > longest or at - max(began, sender.moved) > patience:
                return
            self._thread.join(timeout=0.1)

    def _put(self, kind: str, picture: bytes = b"", **content: Any) -> None:
        if self._sender:
            self._outbox.put(kind, content, picture)


def forget(folder: Path) -> None:
    """Remove what a run directory knows of its MLflow run: what is trained in it next is another one."""
    (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _png(image: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
