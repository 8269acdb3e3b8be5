"""Sends what a run directory has for MLflow, in order, and retries until the server has received it."""

import logging
import os
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
from srgan_dist.utils.files import FULL_DISK
from srgan_dist.utils.jsonl import Journal

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("srgan_dist")

INTERVAL, MAX_INTERVAL = 10.0, 60.0
"""Seconds between two rounds; the pause doubles up to the maximum while the server is unreachable."""
_MOST_DOUBLINGS = 6
"""The pause before the next attempt for one item doubles this often, to about ten minutes."""
_UNUSABLE = ("database is locked", "database or disk is full", "readonly database", *map(os.strerror, FULL_DISK))
"""Parts of messages that say that the database or the folder of artifacts cannot be written now."""
_PERMANENT_ERRORS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "ENDPOINT_NOT_FOUND", "FEATURE_DISABLED"})


class Sender:
    """Sends one run directory's data to MLflow: from a thread of the training, or for `srgan track sync`.

    Training writes to files and never waits for the network; this class reads them. Metrics come from `metrics.jsonl`
    and from the journal, everything else from the outbox. Only one process may send a run at a time (`exclusive`).

    Args:
        folder: the run directory.
        uri: MLflow tracking URI.
        experiment: name of the MLflow experiment.
        outbox: items other than metrics.
        journal: metrics that are not in `metrics.jsonl`.
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
        """Failed attempts of each item in this session, by its number."""
        self._next_attempt: dict[int, float] = {}
        self._reasons: set[str] = set()
        """Reasons for failed items that a warning has named."""
        self._locked, self._no_system_metrics = False, not system_metrics.enabled()
        self.state_file = TrackingStateFile(folder, uri)
        self.outage = ""
        """Why the last round failed; empty if it succeeded."""
        self.last_sent = time.monotonic()
        """When the server last received something."""
        self.points = 0
        """Number of metric values sent."""
        self._wake, self._closing, self._abandoned = threading.Event(), threading.Event(), threading.Event()

    def run(self) -> None:
        """Send in rounds until `close` is called, then once more, so that nothing logged before `close` is left."""
        pause, last = INTERVAL, False
        with ExitStack() as stack:
            while not (last or self._abandoned.is_set()):
                last = self._closing.is_set()  # before sending: what is logged during this round needs another one
                pause = INTERVAL if self._attempt(stack) else min(2 * pause, MAX_INTERVAL)
                self._start_system_metrics()
                self._wake.wait(0 if last else pause)

    def close(self) -> None:
        """Make `run` return after one more round."""
        if self._system:
            self._system.close()
        self._closing.set()
        self._wake.set()

    def abandon(self) -> None:
        """Make `run` return after the request that is in flight."""
        self._abandoned.set()

    def waiting(self) -> bool:
        """Return whether anything has not been sent yet."""
        sent = self.state_file.now.sent
        return bool(self._outbox.count()) or any(file.read(sent)[0] for file in self._files)

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Hold the lock that prevents other processes from sending this run.

        Raises:
            UnreachableError: if another process holds it.
        """
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self._lock).acquire(timeout=0)
        except Timeout:
            raise server.UnreachableError("another process is training or syncing this run") from None
        with lock:
            yield

    def send(self) -> None:
        """Send everything once; raise whatever MLflow raises if the server is unreachable.

        Metrics come first, because curves are what users watch. Items follow in the order in which they were logged,
        so the final status arrives after everything that it concludes. An offset in a file moves forward only after the
        server has confirmed the points before it, and an item is deleted only after it was sent: an interrupted round
        is simply repeated.
        """
        delivery = self._open()
        for file in self._files:
            while not self._abandoned.is_set():
                points, offset = file.read(self.state_file.now.sent)
                if points:
                    delivery.points(points)
                    self.points += len(points)
                    self._note_progress()
                if offset == file.offset:  # no complete line is left
                    break
                file.offset = offset
        for item in self._outbox.items():
            if self._abandoned.is_set():
                return
            if time.monotonic() >= self._next_attempt.get(item.number, 0) or self._closing.is_set():
                self._send(delivery, item)

    def _send(self, delivery: Delivery, item: Item) -> None:
        """Send one item. An outage is raised; an item that fails by itself must not hold up the ones behind it."""
        retry = item.number < self._outbox.first_new or self._failures[item.number] > 0
        try:
            delivery.item(item, retry)
        except Exception as error:
            self._failures[item.number] += 1
            if _is_outage(error):
                self._failures[item.number] = 1  # not the item's fault: it may be tried again as often as needed
                raise
            if _is_permanent_error(error):
                log.warning("MLflow rejected %s (%s); dropping it", _describe(item), server.reason(error))
                self._outbox.done(item)
            else:
                pause = INTERVAL * 2 ** min(self._failures[item.number], _MOST_DOUBLINGS)
                self._next_attempt[item.number] = time.monotonic() + pause
                self._warn_once(item, server.reason(error))
            return
        self._outbox.sent(item)
        self._note_progress()

    def _warn_once(self, item: Item, reason: str) -> None:
        if reason not in self._reasons:
            log.warning("could not send %s to MLflow (%s); it will be tried again", _describe(item), reason)
        self._reasons.add(reason)

    def _attempt(self, stack: ExitStack) -> bool:
        """Run one round; return whether it succeeded. The lock stays on `stack` until `run` returns."""
        try:
            if not self._locked:
                stack.enter_context(self.exclusive())
                self._locked = True
            self.send()
        except Exception as error:  # MLflow and its dependencies raise anything; training must not be affected
            if not self.outage:
                log.warning(
                    "MLflow at %s cannot be reached (%s); training continues, and unsent data is kept in %s",
                    server.shown(self.uri), server.reason(error), self._folder,
                )  # fmt: skip
            self.outage = server.reason(error)
            return False
        if self.outage:
            log.info("MLflow at %s is reachable again and has received what it missed", server.shown(self.uri))
        self.outage = ""
        return True

    def _open(self) -> Delivery:
        if self._delivery is None:
            self._client = self._client or server.connect(self.uri)
            open_run(self._client, self.state_file, self._experiment, self._folder.name, self._outbox.send_again)
            self._delivery = Delivery(self._client, self._folder, self.state_file)
            log.info("MLflow run: %s", page_of(self._client, self.state_file.now))
            self._note_progress()
        return self._delivery

    def _start_system_metrics(self) -> None:
        # Only the process that holds the lock samples: a second one would write the same steps into the journal.
        if self._system or self._no_system_metrics or not self._locked or self._closing.is_set():
            return
        try:
            first = system_metrics.next_sample(self._journal, self.state_file.now.sent)
            self._system = system_metrics.SystemMetrics(self._journal, first) if system_metrics.enabled() else None
        except Exception as error:  # for example in a container without a network interface; the rest is still sent
            log.warning("system metrics are not logged (%s)", error)
            self._no_system_metrics = True

    def _note_progress(self) -> None:
        self.last_sent = time.monotonic()


def _is_outage(error: Exception) -> bool:
    """Return whether the server is unreachable, so that every other request would fail as well."""
    text = str(error)
    if any(part in text for part in _UNUSABLE):
        return True
    answer = "API request to" in text and "failed with" in text and "error code 4" not in text
    return answer or bool(server.refusal_code(error)) or "valid JSON format" in text


def _is_permanent_error(error: Exception) -> bool:
    """Return whether the server rejected the request itself, so that a retry cannot succeed."""
    response: Any = getattr(error, "response", None)
    code = getattr(response, "status_code", 0)
    rejected = isinstance(code, int) and 400 <= code < 500 and code not in (401, 403, 408, 429)
    return (
        rejected or getattr(error, "error_code", "") in _PERMANENT_ERRORS or isinstance(error, (TypeError, ValueError))
    )


def _describe(item: Item) -> str:
    name = item.content.get("key") or item.content.get("file") or ""
    return f"{item.kind} {name}".strip()
