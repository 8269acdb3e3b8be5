import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from srgan_dist.tracking.server import UnreachableError, check_server, shown


@pytest.fixture
def answering() -> Iterator[Callable[[int, str], str]]:
    """Makes servers that always give the same answer; their addresses."""
    with ExitStack() as stack:

        def serve(code: int, text: str) -> str:
            class Handler(http.server.BaseHTTPRequestHandler):
                def answer(self) -> None:
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text.encode())

                do_GET = do_POST = answer  # noqa: N815

                def log_message(self, *_: object) -> None:
                    pass

            httpd = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=httpd.serve_forever, daemon=True).start()
            stack.callback(httpd.shutdown)
            return f"http://127.0.0.1:{httpd.server_port}"

        yield serve


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (401, "You are not authenticated", "access denied (401"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}', "access denied (403"),
        (404, "nothing here", "not an MLflow server"),
        (200, "<html>hello</html>", "not an MLflow server"),
    ],
)
def test_what_can_never_work_is_an_error(code: int, text: str, said: str, answering: Callable[[int, str], str]):
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI=http://127") as error:
        check_server(answering(code, text))

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_may_come_back_is_none(answering: Callable[[int, str], str]):
    for uri in (answering(503, "busy"), "http://127.0.0.1:9"):
        with pytest.raises(UnreachableError):
            check_server(uri)


@pytest.mark.parametrize(
    "uri", ["htp://host", "localhost:5000", "http://", "http://[::1", "http://host:99999", "runs", "sqlite:////no/x.db"]
)
def test_a_malformed_address_is_an_error(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI="):
        check_server(uri)


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path):
    (tmp_path / "mlflow.db").write_text("not SQLite at all")

    with pytest.raises(ValueError, match="not an SQLite database"):
        check_server(f"sqlite:///{tmp_path}/mlflow.db")
    check_server(f"sqlite:///{tmp_path}/new.db")


def test_passwords_are_not_shown():
    assert shown("https://me:secret@host:1/x") == "https://***@host:1/x"
