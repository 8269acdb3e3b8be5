import os
import socket
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from srgan_dist.tracking.chart_page import VIEW_TAG
from srgan_dist.tracking.mlflow_run import TOKEN
from srgan_dist.tracking.ui_server import find_pages, serve

SERVER = """#!{python}
import http.server, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", port), Health).handle_request()
sys.exit({code})
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def program(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `serve` start this instead of MLflow."""
    file = folder / "program"
    file.write_text(text)
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))


@pytest.mark.skipif(os.name == "nt", reason="a script cannot be a program there")
@pytest.mark.parametrize("code", [0, 3])
def test_the_address_is_announced_once_the_server_answers_and_its_exit_code_returned(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program(tmp_path, SERVER.format(python=sys.executable, code=code), monkeypatch)
    announced: list[str] = []
    port = free_port()

    assert serve("sqlite:///a.db", "127.0.0.1", port, [], announced.append) == code
    assert announced == [f"http://127.0.0.1:{port}"]


@pytest.mark.skipif(os.name == "nt", reason="a script cannot be a program there")
def test_a_server_that_fails_is_not_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program(tmp_path, "#!/bin/sh\nexit 2\n", monkeypatch)
    announced: list[str] = []

    assert serve("sqlite:///a.db", "127.0.0.1", free_port(), [], announced.append) == 2
    assert not announced


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} .* is in use; choose another one with --port"):
            serve("sqlite:///a.db", "127.0.0.1", port, [], print)


def test_without_a_database_it_says_what_to_do(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no MLflow database here .*mlflow\.db.*train something first"):
        find_pages(f"sqlite:///{tmp_path}/mlflow.db")

    assert not list(tmp_path.iterdir())


def test_another_file_is_not_a_database(tmp_path: Path):
    (tmp_path / "mlflow.db").write_text("no database" * 100)

    with pytest.raises(ValueError, match="cannot be read"):
        find_pages(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.slow
def test_experiments_with_training_runs_are_found_the_latest_first(tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    for time, name in ((2, "new"), (1, "old"), (3, "somebody else's")):
        experiment = client.create_experiment(name)
        client.create_run(experiment, time, {TOKEN: "x"} if "else" not in name else {})

    pages = find_pages(uri)

    assert [page.name for page in pages] == ["new", "old"]
    assert VIEW_TAG in client.get_experiment(pages[1].experiment).tags
