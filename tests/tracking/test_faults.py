"""Servers and databases that fail in mid-run: logging goes on, one warning, and every number arrives once."""

import logging
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy
from mlflow import MlflowClient

from srgan_dist.cli.app import main
from srgan_dist.tracking import sender
from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.tracking.state import read_tracking_state
from srgan_dist.tracking.tracker import Tracker
from srgan_dist.training.config import dump
from srgan_dist.training.presets import preset
from tests.tracking.conftest import Server, times

PARAMS = {"scale": "4", "data.batch": "8"}
REPEATED = {"content-length", "content-type", "accept", "range"}


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, except while `fault` names what happens to them instead."""

    daemon_threads = True
    fault = "pass"

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.uri = target, f"http://127.0.0.1:{self.server_port}"
        self.ended = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is what is tried here."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy  # pyright: ignore[reportIncompatibleVariableOverride]

    def _handle(self) -> None:
        fault = self.server.fault
        if fault in ("500", "401", "html"):
            self._answer(200 if fault == "html" else int(fault), b"<html>Please sign in</html>", "text/html")
            return
        if fault == "hang":
            self.server.ended.wait(60)
        if fault in ("hang", "close"):
            self.close_connection = True
            return
        if fault == "slow":
            time.sleep(2)
        answer = self._passed_on()
        if fault != "lost":  # the server has done it, and the client never hears of it
            self._answer(*answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 (names that http.server calls)

    def _passed_on(self) -> tuple[int, bytes, str]:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() in REPEATED}
        request = urllib.request.Request(self.server.target + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers.get("Content-Type", "")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.uri)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.ended.set()
    made.shutdown()
    made.server_close()


def _impatient(text: str) -> object:
    return sqlalchemy.text(text.replace("busy_timeout = 20000", "busy_timeout = 300"))


@pytest.fixture
def folder(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory beside a database; a copy of the server's, because making an empty one takes seconds."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(server.database)) as source, closing(sqlite3.connect("mlflow.db")) as copy:
        source.backup(copy)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "6")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("mlflow.store.db.utils.sql", SimpleNamespace(text=_impatient))
    monkeypatch.setattr(sender, "INTERVAL", 0.05)
    monkeypatch.setattr(sender, "MAX_INTERVAL", 0.2)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    return run


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """How often the log has a phrase."""
    monkeypatch.setattr(logging.getLogger("srgan_dist"), "propagate", True)
    caplog.set_level(logging.INFO, "srgan_dist")
    return lambda phrase: times(caplog, phrase)


class Logging:
    """A tracker and what it was given: ten numbers and an image at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wanted, self.images = folder, list[tuple[int, float]](), list[int]()
        self.tracker = Tracker(TrackingConfig(experiment=folder.parent.parent.name), folder, PARAMS)
        self.tracker.start()
        assert self.tracker._sender
        self.sender = self.tracker._sender

    def log(self) -> None:
        started = time.monotonic()
        for _ in range(10):
            step = len(self.wanted) + 1
            self.wanted.append((step, step / 8))
            self.tracker.metrics(step, {"loss": step / 8})
        self.tracker.image("cat", np.zeros((4, 4, 3), np.uint8), len(self.wanted))
        self.images.append(len(self.wanted))
        assert time.monotonic() - started < 1, "logging waited for the server"

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; {self.sender.outage}"
            time.sleep(0.02)

    def wait_until_sent(self) -> None:
        self.wait(lambda: not self.sender.waiting())

    def wait_for_outage(self) -> None:
        self.wait(lambda: bool(self.sender.outage))

    def finish(self, uri: str) -> None:
        """Close, and compare what a server has with what was logged."""
        self.log()
        assert self.tracker.close("FINISHED")
        known = read_tracking_state(self.folder)
        assert known
        client, run = MlflowClient(uri), known.run_id
        info = client.get_run(run)
        assert [(m.step, m.value) for m in client.get_metric_history(run, "loss")] == self.wanted
        assert info.data.params == PARAMS
        assert info.info.status == "FINISHED"
        runs = client.search_runs([info.info.experiment_id])
        assert [r.info.run_id for r in runs if r.info.run_name == self.folder.name] == [run]
        found = [f.path for f in client.list_artifacts(run, "images") if f.path.endswith(".png")]
        assert sorted(int(path.split("+")[2]) for path in found) == self.images


FAULTS = [
    "401",
    *(pytest.param(fault, marks=pytest.mark.extended) for fault in ("500", "html", "hang", "close", "lost")),
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_in_mid_run_is_one_warning_and_loses_nothing(
    fault: str, server: Server, proxy: Proxy, folder: Path, said: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    run = Logging(folder)
    run.log()
    run.wait_until_sent()

    proxy.fault = fault
    try:
        run.log()
        run.wait_for_outage()
        run.log()
        time.sleep(0.5)
    finally:
        proxy.fault = "pass"
    run.wait(lambda: not run.sender.outage)
    run.finish(server.uri)

    assert said("cannot be reached") == 1
    assert said("is reachable again") == 1
    assert said("could not send") + said("dropping") + said("not everything") == 0


@pytest.mark.extended
@pytest.mark.parametrize("fault", ["401", "500", "html", "hang", "close", "lost"])
def test_files_alone_survive_a_fault_too(
    fault: str, server: Server, proxy: Proxy, folder: Path, said: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    (folder / "notes.txt").write_text("notes")
    (folder / "first.txt").write_text("first")
    run = Logging(folder)
    run.log()
    run.tracker.artifact(folder / "first.txt")
    run.wait_until_sent()

    proxy.fault = fault
    try:
        run.tracker.artifact(folder / "notes.txt")
        time.sleep(2)
    finally:
        proxy.fault = "pass"
    run.finish(server.uri)

    assert said("cannot be reached") + said("could not send") == 1
    known = read_tracking_state(folder)
    assert known
    assert "notes.txt" in {f.path for f in MlflowClient(server.uri).list_artifacts(known.run_id)}


@pytest.mark.extended
def test_a_slow_server_is_no_fault(
    server: Server, proxy: Proxy, folder: Path, said: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    run = Logging(folder)
    run.log()
    run.wait_until_sent()

    proxy.fault = "slow"
    try:
        run.log()
        run.log()
        run.wait_until_sent()
    finally:
        proxy.fault = "pass"
    run.finish(server.uri)

    assert said("cannot be reached") + said("could not send") == 0


@pytest.mark.slow
def test_a_locked_database_is_one_warning_and_loses_nothing(folder: Path, said: Callable[[str], int]):
    run = Logging(folder)
    run.log()
    run.wait_until_sent()

    with closing(sqlite3.connect("mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        run.log()
        run.wait_for_outage()
        run.log()
        time.sleep(0.5)
    run.wait(lambda: not run.sender.outage)
    run.finish(run.sender.uri)

    assert said("cannot be reached (the database is locked by another program)") == 1
    assert said("cannot be reached") == said("is reachable again") == 1
    assert said("could not send") == 0


@pytest.mark.extended
def test_a_database_that_is_deleted_in_mid_run_is_made_anew_with_everything(folder: Path, said: Callable[[str], int]):
    run = Logging(folder)
    run.log()
    run.wait_until_sent()

    Path("mlflow.db").unlink()
    run.log()
    run.wait_until_sent()
    run.finish(run.sender.uri)

    assert said("has no run") == 1
    assert said("could not send") == 0


@pytest.mark.extended
def test_an_artifact_store_that_cannot_be_written_holds_up_no_number(folder: Path, said: Callable[[str], int]):
    run = Logging(folder)
    run.log()
    run.wait_until_sent()
    store = Path("mlruns")
    store.rename("away")
    store.write_text("in the way")

    run.log()
    run.log()
    run.wait(lambda: said("could not send") > 0 and run.sender.state_file.now.sent["loss"] == len(run.wanted))
    time.sleep(0.5)
    store.unlink()
    Path("away").rename(store)
    run.wait_until_sent()
    run.finish(run.sender.uri)

    assert said("could not send") == 1
    assert said("cannot be reached") == 0


@pytest.mark.extended
def test_two_runs_into_one_database_at_the_same_time_lose_nothing(folder: Path, said: Callable[[str], int]):
    other = folder.with_name("other")
    other.mkdir()
    runs = [Logging(folder), Logging(other)]
    for _ in range(5):
        for run in runs:
            run.log()
        time.sleep(0.1)
    for run in runs:
        run.wait_until_sent()

    for run in runs:
        run.finish(run.sender.uri)


@pytest.mark.slow
def test_a_sync_to_a_locked_database_is_one_line_and_a_failure(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    run = Logging(folder)
    run.log()
    run.wait_until_sent()
    assert run.tracker.close("FINISHED")
    (folder / "config.json").write_text(dump(preset("quickstart")))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "time": 1, "late": 2}\n')
    capsys.readouterr()  # what the run itself logged, where another test has turned logging on

    with closing(sqlite3.connect("mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert main(["track", "sync", str(folder)]) == 1
    refused = capsys.readouterr()
    assert main(["track", "sync", str(folder)]) == 0

    assert refused.out == ""
    assert refused.err.count("\n") == 1
    assert "the database is locked by another program" in refused.err
    assert "nothing is left" in capsys.readouterr().out
