from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.tracking.delivery import TABLE
from srgan_dist.tracking.state import read_tracking_state
from srgan_dist.tracking.tracker import Tracker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    return run


def stored(folder: Path) -> tuple[MlflowClient, str]:
    known = read_tracking_state(folder)
    assert known
    return MlflowClient(known.tracking_uri), known.run_id


@pytest.mark.slow
def test_everything_arrives_and_a_resumed_run_goes_on(folder: Path):
    tracker = Tracker(TrackingConfig(experiment="tries"), folder, {"scale": 2, "data.batch": 8})
    tracker.metrics(1, {"loss": np.float32(0.5)})
    tracker.image("cat", np.zeros((4, 4, 3), np.uint8), 1)
    tracker.artifact(folder / "mlflow.json")
    tracker.table([{"image": "small", "psnr_y": 30.0}, {"image": "cat", "psnr_y": 31.0, "niqe": 5.0}])
    tracker.close("FAILED")
    again = Tracker(TrackingConfig(experiment="tries"), folder, {"scale": 2})
    again.metrics(2, {"loss": 0.25})
    again.close("FINISHED")

    client, run = stored(folder)
    info = client.get_run(run)
    assert info.info.run_name == "mine"
    assert info.info.status == "FINISHED"
    assert info.data.params == {"scale": "2", "data.batch": "8"}
    assert [(m.step, m.value) for m in client.get_metric_history(run, "loss")] == [(1, 0.5), (2, 0.25)]
    assert {f.path for f in client.list_artifacts(run)} >= {"images", "mlflow.json", TABLE}
    assert len(client.search_runs([info.info.experiment_id])) == 1
    assert Path("mlflow.db").exists()  # where a plain `mlflow ui` looks


def test_turned_off_it_leaves_no_trace(folder: Path):
    tracker = Tracker(TrackingConfig(enabled=False), folder, {})
    tracker.metrics(1, {"loss": 0.5})
    tracker.close("FINISHED")

    assert not (folder / "mlflow.json").exists()
    assert not Path("mlflow.db").exists()


def test_a_tracker_that_fails_is_told_once_and_stops_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    tracker = Tracker(TrackingConfig(), folder, {})

    for step in range(5):
        tracker.metrics(step, {"loss": 0.5})
    tracker.close("FINISHED")

    assert not (folder / "mlflow.json").exists()


@pytest.mark.slow
def test_a_run_that_is_made_anew_elsewhere_receives_everything(folder: Path, monkeypatch: pytest.MonkeyPatch):
    config = TrackingConfig(experiment="tries")
    (folder / "notes.txt").write_text("notes")
    tracker = Tracker(config, folder, {"scale": 2, "data.batch": 8}, {"tag": "kept"})
    tracker.metrics(1, {"loss": 0.5})
    tracker.image("cat", np.zeros((4, 4, 3), np.uint8), 1)
    tracker.artifact(folder / "notes.txt")
    assert tracker.close("FAILED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/other.db")

    again = Tracker(config, folder, {"scale": 2, "data.batch": 8})
    again.metrics(2, {"loss": 0.25})
    assert again.close("FINISHED")

    client, run = stored(folder)
    found = client.get_run(run)
    assert found.data.params == {"scale": "2", "data.batch": "8"}
    assert found.data.tags["tag"] == "kept"
    assert found.info.status == "FINISHED"
    assert [(m.step, m.value) for m in client.get_metric_history(run, "loss")] == [(1, 0.5), (2, 0.25)]
    assert {f.path for f in client.list_artifacts(run)} >= {"images", "notes.txt"}
