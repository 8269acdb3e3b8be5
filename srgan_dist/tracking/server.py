"""Where MLflow is, whether it can be used at all, and how long to wait for it."""

import importlib.metadata
import logging
import os
import re
import urllib.parse
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.tracking.state import read_tracking_state

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_DEFAULTS = {
    _TIMEOUT: "6",  # seconds; MLflow's own are 120, times 8
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the sender comes again by itself
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing calls home from a training run
}
_BYTES_PER_SECOND = 256 << 10
"""The slowest line on which a file is given time to arrive."""
_KNOWN = frozenset({"postgresql", "mysql", "mssql", "databricks"})
_REFUSALS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
_MEANINGS = {
    "Connection refused": "connection refused",
    "Connection aborted|Connection reset": "connection lost",
    "timeout exception|timed out": "no answer in time",
    "Name or service not known|name resolution|No address associated": "no such host",
    "too many 5\\d\\d error": "the server says it has an error",
}
_SQLITE = b"SQLite format 3\0"


class UnreachableError(Exception):
    """The server does not answer, or not now."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or `mlflow.db` in the working directory: where a plain `mlflow ui` looks."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd()}/mlflow.db"


def uri_of(folder: Path) -> str:
    """Where a run directory's MLflow run is, or will be; `MLFLOW_TRACKING_URI` has the last word."""
    state = None if os.environ.get("MLFLOW_TRACKING_URI") else read_tracking_state(folder)
    return state.tracking_uri if state else tracking_uri()


def shown(uri: str) -> str:
    """The address without a password."""
    return re.sub(r"(?<=://).*@(?=[^@]*$)", "***@", uri.partition("?")[0])


def check_server(uri: str) -> None:
    """Refuses, before any training, what can never work.

    Raises:
        ValueError: an address that MLflow does not know, or that answers but is no MLflow server, or that refuses the
            credentials.
        UnreachableError: nobody answers, which may change.
    """
    wrong = _wrong(uri)
    if wrong:
        raise ValueError(f"MLFLOW_TRACKING_URI={shown(uri)}: {wrong}")


def _wrong(uri: str) -> str:
    try:
        parts = urllib.parse.urlsplit(uri)
        parts.port  # noqa: B018 (raises for a port that is none)
    except ValueError as error:
        return str(error)
    scheme = parts.scheme.split("+")[0]
    if scheme == "sqlite":
        return _wrong_sqlite(urllib.parse.unquote(parts.path[1:]))
    if scheme in ("http", "https"):
        return _wrong_server(uri) if parts.hostname else "no host in it; it looks like http://127.0.0.1:5000"
    if uri == "databricks" or scheme in _KNOWN | _plugins():
        return ""
    if scheme in ("", "file") and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("1", "true"):
        return f"MLflow no longer keeps runs in folders; use sqlite:///{Path.cwd()}/mlflow.db"
    known = ", ".join(sorted({"sqlite", "http", "https"} | _KNOWN | _plugins()))
    return "" if scheme in ("", "file") else f"there is no tracking store of kind {scheme!r}; known: {known}"


def _wrong_sqlite(path: str) -> str:
    file = Path(path)
    if not path:  # in memory
        return ""
    if file.is_dir() or (file.exists() and file.stat().st_size and _head(file) != _SQLITE):
        return f"{file} is not an SQLite database"
    if not file.parent.is_dir():
        return f"there is no folder {file.parent}"
    writable = os.access(file if file.exists() else file.parent, os.W_OK)
    return "" if writable else f"{file} cannot be written"


def _head(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(len(_SQLITE))


def _plugins() -> set[str]:
    return {point.name for point in importlib.metadata.entry_points(group="mlflow.tracking_store")}


def _wrong_server(uri: str) -> str:
    client = connect(uri)
    from mlflow.exceptions import MlflowException

    try:
        client.search_experiments(max_results=1)
    except MlflowException as error:
        if refused(error):
            return (
                f"access refused ({refused(error)}: {reason(error)}); MLflow reads credentials from "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        if any(sign in str(error) for sign in ("failed with error code 404", "valid JSON", "Invalid url")):
            return f"this is not an MLflow server ({reason(error)})"
        raise UnreachableError(reason(error)) from error
    return ""


def refused(error: BaseException) -> str:
    """`401` or `403` where the server said so, else nothing."""
    code, text = getattr(error, "error_code", ""), str(error)
    return next((str(n) for n, name in _REFUSALS.items() if code == name or f"error code {n}" in text), "")


def reason(error: BaseException) -> str:
    """Why, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    for sign, meaning in _MEANINGS.items():
        if re.search(sign, text):
            return meaning
    return re.sub(r"^API request to \S+ (\S+ )?failed with ", "", text)[:200]


def connect(uri: str) -> "MlflowClient":
    """A client that gives up soon. Loads MLflow, which takes seconds."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return MlflowClient(uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


@contextmanager
def patience_for(file: Path) -> Generator[None]:
    """Gives a large file more time than a few numbers, unless the user has said how much."""
    usual = os.environ[_TIMEOUT]
    if usual == _DEFAULTS[_TIMEOUT]:
        os.environ[_TIMEOUT] = str(int(usual) + file.stat().st_size // _BYTES_PER_SECOND)
    try:
        yield
    finally:
        os.environ[_TIMEOUT] = usual
