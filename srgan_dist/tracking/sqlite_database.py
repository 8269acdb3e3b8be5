"""New SQLite databases of MLflow."""

import uuid
from pathlib import Path

from srgan_dist.tracking.sqlite_address import sqlite_uri
from srgan_dist.utils.files import publish_new, remove


def create_database(file: Path) -> None:
    """Create MLflow's tables in a new database, unless the file exists; it appears only once it is complete.

    MLflow itself creates the tables one by one, and cannot use a database in which a full disk or a killed process
    has interrupted this.
    """
    if file.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        SqlAlchemyStore(sqlite_uri(partial), "./mlruns").engine.dispose()
        publish_new(partial, file)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            remove(partial.with_name(partial.name + suffix))
