from pathlib import Path

import pytest
from mlflow import MlflowClient

from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.tracking.server import tracking_uri
from srgan_dist.tracking.sqlite_address import sqlite_file, sqlite_uri
from srgan_dist.tracking.state import read_tracking_state
from srgan_dist.tracking.tracker import Tracker


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite://///a/b.db", "/a/b.db"),
        ("sqlite+pysqlite:////a/p%20#q/b.db?timeout=9", "/a/p%20#q/b.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("http://host/x.db", None),
    ],
)
def test_the_path_of_an_address_is_what_sqlalchemy_opens(uri: str, file: str | None):
    assert sqlite_file(uri) == (Path(file) if file else None)


def test_a_relative_address_means_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    assert sqlite_file("sqlite:///x/mlflow.db") == tmp_path / "x" / "mlflow.db"


def test_a_question_mark_that_cannot_be_expressed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match="cannot contain a question mark"):
        sqlite_uri(tmp_path / "a?b" / "mlflow.db")


@pytest.mark.slow
@pytest.mark.parametrize("slashes", [False, True])
def test_everything_stays_in_a_folder_of_an_odd_name(slashes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / "p%20?x#y" if not slashes else tmp_path / "plain"
    run = work / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "notes.txt").write_text("notes")
    monkeypatch.chdir(work)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if slashes:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:////{work}/mlflow.db")

    tracker = Tracker(TrackingConfig(experiment="../../out"), run, {})
    tracker.artifact(run / "notes.txt")
    assert tracker.close("FINISHED")

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    state = read_tracking_state(run)
    assert [f.name for f in tmp_path.iterdir()] == [work.name]
    assert sorted(f.name for f in work.iterdir()) == ["mlflow.db", "mlruns", "runs"]
    assert [f.name for f in work.rglob("notes.txt")] == ["notes.txt"] * 2
    assert state
    assert MlflowClient(state.tracking_uri or tracking_uri()).get_run(state.run_id).info.status == "FINISHED"
