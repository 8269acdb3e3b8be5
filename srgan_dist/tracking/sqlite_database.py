"""New SQLite databases of MLflow."""

import os
import uuid
from pathlib import Path

from srgan_dist.tracking.sqlite_address import sqlite_uri
from srgan_dist.utils.files import remove


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
        _publish_new(partial, file)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            remove(partial.with_name(partial.name + suffix))


def _publish_new(partial: Path, file: Path) -> None:
    """Give a complete database its name; keep the one that another process has created in the meantime."""
    try:
        os.link(partial, file)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not file.exists():
            os.replace(partial, file)
