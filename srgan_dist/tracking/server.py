"""The MLflow server: its address, whether it is usable, and timeouts."""

import errno
import importlib.metadata
import logging
import os
import re
import urllib.parse
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.tracking.sqlite_address import sqlite_file, sqlite_uri
from srgan_dist.tracking.sqlite_database import create_database
from srgan_dist.tracking.state import read_tracking_state
from srgan_dist.utils.addresses import redacted
from srgan_dist.utils.cache_folder import provide_home

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_DEFAULTS = {
    _TIMEOUT: "6",  # seconds; MLflow's own default is 120, with 7 retries
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the sender retries by itself
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # training runs send no usage statistics
}
_BYTES_PER_SECOND = 256 << 10
"""Slowest connection on which an upload does not time out."""
_STORES = frozenset({"postgresql", "mysql", "mssql", "databricks"})
"""Tracking stores that MLflow supports, besides sqlite and http(s), which are checked further."""
_REFUSALS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
_REASONS = {
    "Connection refused": "connection refused",
    "Connection aborted|Connection reset": "connection lost",
    "timeout exception|timed out": "request timed out",
    "Name or service not known|name resolution|No address associated": "host not found",
    "too many 5\\d\\d error": "internal server error",
    "database is locked": "the database is locked by another program",
    "database or disk is full": "the disk of the database is full",
    os.strerror(errno.ENOSPC): "the disk of the artifacts is full",
    "valid JSON format": "the answer is not from an MLflow server",
}
"""Patterns in the multi-line messages of HTTP libraries, and what to show instead."""
_SQLITE = b"SQLite format 3\0"


class UnreachableError(Exception):
    """The server does not respond, which may be temporary."""


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or by default `mlflow.db` in the working directory, like `mlflow ui`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(Path.cwd() / "mlflow.db")


def uri_of(folder: Path) -> str:
    """Return the tracking URI of a run directory's MLflow run; `MLFLOW_TRACKING_URI` takes precedence."""
    state = None if os.environ.get("MLFLOW_TRACKING_URI") else read_tracking_state(folder)
    return state.tracking_uri if state else tracking_uri()


def shown(uri: str) -> str:
    """Return the address with user name and password masked, and without its query."""
    return re.sub(r"(?<=://).*@(?=[^@]*$)", "***@", uri.partition("?")[0])


def check_server(uri: str) -> None:
    """Check an address before training starts.

    Raises:
        ValueError: if the address cannot work: MLflow does not support it, it belongs to something other than an MLflow
            server, or the server rejects the credentials.
        UnreachableError: if the server does not respond, which may be temporary.
    """
    problem = _find_problem(uri)
    if problem:
        raise ValueError(f"MLFLOW_TRACKING_URI={shown(uri)}: {problem}")


def _find_problem(uri: str) -> str:
    """Return what is wrong with an address; an empty string if nothing is."""
    try:
        parts = urllib.parse.urlsplit(uri)
        parts.port  # noqa: B018 (raises for an invalid port)
    except ValueError as error:
        return str(error)
    scheme = parts.scheme.split("+")[0]
    if scheme == "sqlite":
        return _find_sqlite_problem(sqlite_file(uri))
    if scheme in ("http", "https"):
        return _find_server_problem(uri) if parts.hostname else "it has no host; expected e.g. http://127.0.0.1:5000"
    if uri == "databricks" or scheme in _STORES | _plugins():
        return ""
    if scheme in ("", "file") and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("1", "true"):
        return f"MLflow no longer supports folders as tracking stores; use sqlite:///{Path.cwd()}/mlflow.db"
    supported = ", ".join(sorted({"sqlite", "http", "https"} | _STORES | _plugins()))
    return "" if scheme in ("", "file") else f"unknown tracking store {scheme!r}; supported: {supported}"


def _find_sqlite_problem(file: Path | None) -> str:
    if file is None:  # in memory
        return ""
    if file.is_dir() or (file.exists() and file.stat().st_size and _first_bytes(file) != _SQLITE):
        return f"{file} is not an SQLite database"
    if not file.parent.is_dir():
        return f"the folder {file.parent} does not exist"
    writable = os.access(file if file.exists() else file.parent, os.W_OK)
    return "" if writable else f"{file} is not writable"


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(len(_SQLITE))


def _plugins() -> set[str]:
    return {point.name for point in importlib.metadata.entry_points(group="mlflow.tracking_store")}


def _find_server_problem(uri: str) -> str:
    client = connect(uri)
    from mlflow.exceptions import MlflowException

    try:
        client.search_experiments(max_results=1)
    except MlflowException as error:
        if code := refusal_code(error):
            return (
                f"access denied ({code}: {reason(error)}); MLflow reads credentials from "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, or from "
                "MLFLOW_TRACKING_URI, whose password is not saved with a run"
            )
        if any(text in str(error) for text in ("failed with error code 404", "valid JSON", "Invalid url")):
            return f"this is not an MLflow server ({reason(error)})"
        raise UnreachableError(reason(error)) from error
    return ""


def refusal_code(error: BaseException) -> str:
    """Return `401` or `403` if the server answered with it; an empty string otherwise."""
    code, text = getattr(error, "error_code", ""), str(error)
    return next((str(n) for n, name in _REFUSALS.items() if code == name or f"error code {n}" in text), "")


def reason(error: BaseException) -> str:
    """Return a short, single-line reason for an error."""
    text = redacted(" ".join(str(error).split())) or type(error).__name__
    for pattern, short in _REASONS.items():
        if re.search(pattern, text):
            return short
    return re.sub(r"^API request to \S+ (\S+ )?failed with ", "", text)[:200]


def connect(uri: str) -> "MlflowClient":
    """Return a client with short timeouts. Imports MLflow, which takes seconds."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    provide_home()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    # A full or locked database: MLflow raises the error, too, and logs its traceback in every attempt.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if file := sqlite_file(uri):
        create_database(file)
    return MlflowClient(uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


@contextmanager
def upload_timeout(file: Path) -> Generator[None]:
    """Extend the request timeout in proportion to the file's size, unless the user has set a timeout."""
    previous = os.environ[_TIMEOUT]
    if previous == _DEFAULTS[_TIMEOUT]:
        os.environ[_TIMEOUT] = str(int(previous) + file.stat().st_size // _BYTES_PER_SECOND)
    try:
        yield
    finally:
        os.environ[_TIMEOUT] = previous
