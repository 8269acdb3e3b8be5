import json
import shutil
from pathlib import Path

import pytest

from srgan_dist.tracking.state import FILE, TrackingStateFile, read_tracking_state


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory whose MLflow run is in a database two folders up."""
    folder = tmp_path / "work" / "runs" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "work" / "mlflow.db").touch()
    TrackingStateFile(folder, f"sqlite:///{tmp_path}/work/mlflow.db").update(run_id="abc")
    return folder


def test_the_address_of_a_local_database_is_kept_relative_to_the_run(run: Path, tmp_path: Path):
    assert json.loads((run / FILE).read_text())["tracking_uri"] == "sqlite:///../../mlflow.db"
    state = read_tracking_state(run)
    assert state
    assert state.tracking_uri == f"sqlite:///{tmp_path}/work/mlflow.db"


def test_a_server_and_an_old_absolute_address_stay_as_they_are(tmp_path: Path):
    for uri in ("http://host:5000", "postgresql://host/db"):
        TrackingStateFile(tmp_path, uri).update(run_id="abc")
        assert json.loads((tmp_path / FILE).read_text())["tracking_uri"] == uri
    (tmp_path / FILE).write_text(json.dumps({"tracking_uri": "sqlite:////far/mlflow.db", "run_id": "abc"}))
    state = read_tracking_state(tmp_path)
    assert state
    assert state.tracking_uri == "sqlite:////far/mlflow.db"
    assert state.run_id == "abc"


def test_a_folder_that_is_moved_with_its_database_goes_on_in_it(run: Path, tmp_path: Path):
    (tmp_path / "work").rename(tmp_path / "elsewhere")

    state = read_tracking_state(tmp_path / "elsewhere" / "runs" / "mine")

    assert state
    assert state.run_id == "abc"
    assert state.tracking_uri == f"sqlite:///{tmp_path}/elsewhere/mlflow.db"


def test_a_run_that_is_moved_alone_goes_on_in_the_database_that_stayed(run: Path, tmp_path: Path):
    moved = run.rename(tmp_path / "moved")

    state = read_tracking_state(moved)

    assert state
    assert state.run_id == "abc"
    assert state.tracking_uri == f"sqlite:///{tmp_path}/work/mlflow.db"


@pytest.mark.parametrize("place", ["work/runs/copy", "backup/runs/mine"])
def test_a_copy_is_another_run_and_leaves_the_originals_alone(run: Path, tmp_path: Path, place: str):
    copy = tmp_path / place
    shutil.copytree(run, copy)

    state = read_tracking_state(copy)

    original = read_tracking_state(run)
    assert state
    assert original
    assert state.run_id == ""
    assert state.token != original.token
    assert original.run_id == "abc"
