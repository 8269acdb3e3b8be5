"""Servers that are away or never answer, runs that are killed: every point arrives, and once."""

import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from srgan_dist.cli.app import main
from srgan_dist.cli.train import train_main
from srgan_dist.distributed.coordination import StopCoordinator
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.tracking.server import uri_of
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.trainer import train
from tests.conftest import PACE, TINY
from tests.tracking.conftest import Server, times

pytestmark = pytest.mark.slow


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """How often the log has a phrase."""
    monkeypatch.setattr(
        "srgan_dist.training.trainer.start_logging", lambda _: None
    )  # it would turn the fixture's handler off
    logging.getLogger("srgan_dist").propagate = True
    caplog.set_level(logging.INFO, "srgan_dist")
    return lambda phrase: times(caplog, phrase)


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> dict[int, Callable[[], object]]:
    """What happens when a step has been logged."""
    wanted: dict[int, Callable[[], object]] = {}
    append = RunDir.append_metrics

    def append_then_act(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        append(self, step, metrics)
        if step in wanted:
            wanted.pop(step)()

    monkeypatch.setattr(RunDir, "append_metrics", append_then_act)
    return wanted


def state(run: Path) -> dict[str, object]:
    return json.loads((run / "mlflow.json").read_text())


def wait_until_sent(run: Path, step: int) -> None:
    deadline = time.monotonic() + 60
    while not (run / "mlflow.json").exists() or state(run)["sent"].get("loss/generator/pixel", -1) < step:
        assert time.monotonic() < deadline, "not sent in time"
        time.sleep(0.05)


def assert_whole(run: Path, uri: str) -> None:
    """Every number of every line is in MLflow, once, and the validation crops too."""
    client, number = MlflowClient(uri), str(state(run)["run_id"])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line} - {"step", "time"}
    assert len(lines) == 16 + 4
    assert {"loss/generator/pixel", "loss/generator/adversarial", "validation/psnr_y", "phase"} <= names
    for name in names:
        stored = [(m.step, m.value) for m in client.get_metric_history(number, name)]
        wanted = [(line["step"], line[name]) for line in lines if name in line]
        assert [s for s, _ in stored] == [s for s, _ in wanted], name
        assert name in PACE or stored == wanted, name
    images = [f.path for f in client.list_artifacts(number, "images") if f.path.endswith(".png")]
    steps = sorted(int(re.search(r"\+step\+(\d+)", p)[1]) for p in images if "HR+" not in p and "bicubic+" not in p)
    assert steps == [4, 8, 12, 16]
    assert len(images) == 6
    info = client.get_run(number).info
    assert info.status == "FINISHED"
    assert len(client.search_runs([info.experiment_id])) == 1
    assert {m.name for m in client.search_logged_models([info.experiment_id])} == {"SRResNet", "SRGAN"}


def test_a_server_that_goes_and_comes_back_misses_nothing(
    tiny: TrainConfig, server: Server, at_step: dict, said: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    moments: list[float] = []

    def go_away() -> None:
        wait_until_sent(tiny.run_dir, 3)
        server.stop()
        moments.append(time.monotonic())

    def come_back() -> None:
        moments.append(time.monotonic())
        server.start()
        wait_until_sent(tiny.run_dir, 13)

    at_step |= {5: go_away, 13: come_back}
    train(tiny)

    assert_whole(tiny.run_dir, server.uri)
    assert moments[1] - moments[0] < 30
    assert said("cannot be reached (connection ") == 1
    assert said("is reachable again") == 1
    assert not list((tiny.run_dir / "tracking" / "outbox").glob("*"))


def test_a_server_that_never_answers_stops_nothing_and_gets_all_later(
    tiny: TrainConfig, server: Server, hanging: str, said: Callable[[str], int], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hanging)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    ended: list[float] = []
    monkeypatch.setattr(StopCoordinator, "close", lambda _: ended.append(time.monotonic()))

    train(tiny)

    assert time.monotonic() - ended[0] < 8
    assert json.loads((tiny.run_dir / "status.json").read_text())["state"] == "done"
    assert said("cannot be reached (request timed out)") == 1
    assert said(f"srgan track sync {tiny.run_dir}") == 1
    assert state(tiny.run_dir)["run_id"] == "" if (tiny.run_dir / "mlflow.json").exists() else True
    assert main(["track", "sync", str(tiny.run_dir)]) == 1
    assert "request timed out" in capsys.readouterr().err

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert main(["track", "sync", str(tiny.run_dir)]) == 0
    assert "nothing is left" in capsys.readouterr().out
    assert_whole(tiny.run_dir, server.uri)


def test_a_run_that_is_killed_and_resumed_while_the_server_is_away_is_one_curve(
    tiny: TrainConfig, at_step: dict, said: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def die_with_everything_sent(step: int) -> None:
        wait_until_sent(tiny.run_dir, step)
        raise Killed

    with monkeypatch.context() as patch:  # a killed process says goodbye to nobody
        patch.setattr("srgan_dist.tracking.tracker.Tracker.close", lambda self, _: _abandon(self))
        at_step[7] = lambda: die_with_everything_sent(7)  # three steps behind the checkpoint
        with pytest.raises(Killed):
            train(tiny)
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody there
        at_step[11] = lambda: (_ for _ in ()).throw(Killed)
        with pytest.raises(Killed):
            train(tiny)
    train(tiny)

    assert_whole(tiny.run_dir, uri_of(tiny.run_dir))


def _abandon(tracker: object) -> bool:
    tracker._sender.abandon()
    tracker._sender.close()
    tracker._thread.join()
    return False


def test_a_process_that_was_killed_reads_killed_after_a_sync(tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch):
    train(tiny)
    status = json.loads((tiny.run_dir / "status.json").read_text())
    (tiny.run_dir / "status.json").write_text(json.dumps(status | {"state": "running"}))

    assert main(["track", "sync", str(tiny.run_dir)]) == 0

    assert MlflowClient(uri_of(tiny.run_dir)).get_run(str(state(tiny.run_dir)["run_id"])).info.status == "KILLED"


@pytest.mark.parametrize(
    ("uri", "said"),
    [("nonsense://nowhere", "unknown tracking store 'nonsense'"), ("http://", "it has no host")],
)
def test_a_wrong_address_is_an_error_before_any_training(
    uri: str, said: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    assert train_main(["quickstart", "--data.shards", str(shards), *TINY]) == 1

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_stops_nothing(tiny: TrainConfig, said: Callable[[str], int]):
    tiny.run_dir.mkdir(parents=True)
    (tiny.run_dir / "tracking").write_text("in the way")

    train(tiny)

    assert json.loads((tiny.run_dir / "status.json").read_text())["state"] == "done"
    assert len((tiny.run_dir / "metrics.jsonl").read_text().splitlines()) == 20
    assert said("MLflow will not receive everything") == 1
