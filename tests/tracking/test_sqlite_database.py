from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.store.tracking import sqlalchemy_store

from srgan_dist.tracking.sqlite_database import create_database

Created = Callable[[Callable[[], object]], None]


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> Created:
    """Replaces MLflow's store by one that writes half of the tables, does something, and writes the rest."""

    def replace(halfway: Callable[[], object]) -> None:
        def store(uri: str, _: str) -> SimpleNamespace:
            file = Path(uri.removeprefix("sqlite:///"))
            file.write_text("half")
            halfway()
            file.write_text("complete")
            return SimpleNamespace(engine=SimpleNamespace(dispose=lambda: None))

        monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", store)

    return replace


def test_a_database_whose_creation_fails_does_not_exist(created: Created, tmp_path: Path):
    file = tmp_path / "mlflow.db"

    def fail() -> None:
        raise OSError("database or disk is full")

    created(fail)
    with pytest.raises(OSError, match="disk is full"):
        create_database(file)
    assert list(tmp_path.iterdir()) == []

    created(lambda: None)
    create_database(file)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "complete"


def test_a_database_that_another_process_creates_meanwhile_is_kept(created: Created, tmp_path: Path):
    file = tmp_path / "mlflow.db"
    created(lambda: file.write_text("of the other process"))

    create_database(file)

    assert file.read_text() == "of the other process"
    assert list(tmp_path.iterdir()) == [file]
