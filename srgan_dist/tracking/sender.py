"""Sends what waits in a run directory, in order, as often as it takes."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from srgan_dist.tracking import server, system_metrics
from srgan_dist.tracking.delivery import Delivery
from srgan_dist.tracking.mlflow_run import open_run, page_of
from srgan_dist.tracking.outbox import Item, Outbox
from srgan_dist.tracking.points import PointFile
from srgan_dist.tracking.state import TrackingStateFile
from srgan_dist.utils.jsonl import Journal

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("srgan_dist")

EVERY, AT_MOST_EVERY = 10.0, 60.0
"""Seconds between two looks; it doubles while the server is away."""
_TRIES = 3
_PERMANENT_ERRORS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "ENDPOINT_NOT_FOUND", "FEATURE_DISABLED"})


class Sender:
    """What a thread, or `srgan track sync`, does for one run directory. Only one at a time may.

    Args:
        folder: the run directory.
        outbox: what else than numbers waits.
        journal: the numbers that are not in `metrics.jsonl`.
    """

    def __init__(self, folder: Path, uri: str, experiment: str, outbox: Outbox, journal: Journal) -> None:
        self.uri, self._folder, self._experiment = uri, folder, experiment
        self._outbox, self._journal = outbox, journal
        self._files = [PointFile(folder / "metrics.jsonl"), PointFile(journal.file)]
        self._lock = journal.file.with_name("lock")
        self._client: MlflowClient | None = None
        self._delivery: Delivery | None = None
        self._system: system_metrics.SystemMetrics | None = None
        self._failures: Counter[int] = Counter()
        self._alone, self._without_system = False, not system_metrics.wanted()
        self.state_file = TrackingStateFile(folder, uri)
        self.away = ""
        """Why nothing can be sent, as far as is known."""
        self.moved = time.monotonic()
        """When something was sent for the last time."""
        self.points = 0
        """How many were sent."""
        self._wake, self._closing, self._abandoned = threading.Event(), threading.Event(), threading.Event()

    def run(self) -> None:
        """Sends every ten seconds until `close` is called, and then once more."""
        pause, last = EVERY, False
        with ExitStack() as held:
            while not (last or self._abandoned.is_set()):
                last = self._closing.is_set()
                pause = EVERY if self._try(held) else min(2 * pause, AT_MOST_EVERY)
                self._start_system_metrics()
                self._wake.wait(0 if last else pause)

    def close(self) -> None:
        """Ends `run` after one more round."""
        if self._system:
            self._system.close()
        self._closing.set()
        self._wake.set()

    def abandon(self) -> None:
        """Ends `run` after the request that it is waiting for."""
        self._abandoned.set()

    def waiting(self) -> bool:
        """Whether something has not arrived."""
        sent = self.state_file.now.sent
        return bool(self._outbox.count()) or any(file.read(sent)[0] for file in self._files)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keeps other processes from sending this run.

        Raises:
            UnreachableError: one is at it.
        """
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self._lock).acquire(timeout=0)
        except Timeout:
            raise server.UnreachableError("another process trains or sends this run") from None
        with lock:
            yield

    def send(self) -> None:
        """One round. Raises whatever MLflow raises where the server is away."""
        delivery = self._open()
        for file in self._files:
            while not self._abandoned.is_set():
                points, place = file.read(self.state_file.now.sent)
                if points:
                    delivery.points(points)
                    self.points += len(points)
                    self._moved()
                if place == file.place:
                    break
                file.place = place
        for item in self._outbox.items():
            if self._abandoned.is_set():
                return
            if self._failures[item.number] < _TRIES:
                self._send(delivery, item)

    def _send(self, delivery: Delivery, item: Item) -> None:
        again = item.number < self._outbox.first_new or self._failures[item.number] > 0
        try:
            delivery.item(item, again)
        except Exception as error:
            self._failures[item.number] += 1
            if _is_outage(error):
                self._failures[item.number] = 1  # not the item's own fault
                raise
            if _is_permanent_error(error):
                log.warning("MLflow does not take %s (%s); it is left out", _named(item), server.reason(error))
                self._outbox.done(item)
            elif self._failures[item.number] == _TRIES:
                log.warning("MLflow did not take %s (%s); srgan track sync tries it again", _named(item),
                            server.reason(error))  # fmt: skip
            return
        self._outbox.done(item)
        self._moved()

    def _try(self, held: ExitStack) -> bool:
        try:
            if not self._alone:
                held.enter_context(self.alone())
                self._alone = True
            self.send()
        except Exception as error:  # whatever MLflow and what is below it raise: training must not notice
            if not self.away:
                log.warning(
                    "MLflow at %s cannot be reached (%s); training goes on, and what it misses waits in %s",
                    server.shown(self.uri), server.reason(error), self._folder,
                )  # fmt: skip
            self.away = server.reason(error)
            return False
        if self.away:
            log.info("MLflow at %s is back and has got what it had missed", server.shown(self.uri))
        self.away = ""
        return True

    def _open(self) -> Delivery:
        if self._delivery is None:
            self._client = self._client or server.connect(self.uri)
            open_run(self._client, self.state_file, self._experiment, self._folder.name)
            self._delivery = Delivery(self._client, self._folder, self.state_file)
            log.info("MLflow run: %s", page_of(self._client, self.state_file.now))
            self._moved()
        return self._delivery

    def _start_system_metrics(self) -> None:
        if self._system or self._without_system or not self._alone or self._closing.is_set():
            return
        try:
            first = system_metrics.next_sample(self._journal, self.state_file.now.sent)
            self._system = system_metrics.SystemMetrics(self._journal, first) if system_metrics.wanted() else None
        except Exception as error:  # a container without a network interface, say: all else is sent
            log.warning("no system metrics: %s", error)
            self._without_system = True

    def _moved(self) -> None:
        self.moved = time.monotonic()


def _is_outage(error: Exception) -> bool:
    """Whether everything else would fail likewise."""
    return "API request to" in str(error) and "failed with" in str(error) and "error code 4" not in str(error)


def _is_permanent_error(error: Exception) -> bool:
    """Whether trying again cannot help."""
    answer: Any = getattr(error, "response", None)
    code = getattr(answer, "status_code", 0)
    refused = isinstance(code, int) and 400 <= code < 500 and code not in (401, 403, 408, 429)
    return (
        refused or getattr(error, "error_code", "") in _PERMANENT_ERRORS or isinstance(error, (TypeError, ValueError))
    )


def _named(item: Item) -> str:
    name = item.content.get("key") or item.content.get("file") or ""
    return f"{item.kind} {name}".strip()
