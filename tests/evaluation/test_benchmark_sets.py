import errno
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants, file_download
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.evaluation import benchmark_sets
from srgan_dist.evaluation.evaluation_set import open_evaluation_set

COMMIT = "0" * 40


def archive() -> bytes:
    out, rng = io.BytesIO(), np.random.default_rng(0)
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in ("bird", "baby"):
            png = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (50, 62, 3), np.uint8)).save(png, "PNG")
            member = tarfile.TarInfo(f"Set5_HR/{name}.png")
            member.size = len(png.getvalue())
            tar.addfile(member, io.BytesIO(png.getvalue()))
    return out.getvalue()


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A stand-in for the Hub that holds Set5, and what was asked of it."""
    content, asked = archive(), []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> bool:
            asked.append(f"{self.command} {self.path}")
            found = self.path == "/datasets/eugenesiow/Set5/resolve/main/data/Set5_HR.tar.gz"
            self.send_response(200 if found else 404)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            return found

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            if self.answer():
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path


def test_a_test_set_is_downloaded_once_by_name(home: Path, hub: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch):
    address, asked = hub
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):  # older versions have copied it
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)

    first = open_evaluation_set(Path("Set5"), 4)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    second = open_evaluation_set(Path("set5"), 2)

    assert (first.data, first.count, first.degradation) == ("Set5", 2, "matlab-clamp")
    assert [first.read(i).name for i in range(2)] == ["baby", "bird"]
    assert first.read(0).lr.shape == (12, 15, 3)
    assert second.read(0).lr.shape == (25, 31, 3)
    assert len([a for a in asked if a.startswith("GET") and a.endswith("Set5_HR.tar.gz")]) == 1
    assert not list((home / "srgan_dist").glob(".partial*"))


def test_without_network_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    code = main(["evaluate", "--data", "bsd100"])

    said = capsys.readouterr()
    assert code == 1
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert "BSD100 could not be downloaded" in said.err
    assert "put its HR images into a folder" in said.err


def test_a_corrupt_archive_is_named(home: Path, monkeypatch: pytest.MonkeyPatch):
    file = home / "Set5_HR.tar.gz"
    file.write_bytes(b"not an archive")
    monkeypatch.setattr(benchmark_sets, "_download", lambda name: file)

    with pytest.raises(ValueError, match=r"Set5_HR\.tar\.gz: corrupt"):
        benchmark_sets.fetch_testset("set5")


def test_a_full_disk_is_an_error_with_the_name_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "Set5_HR.tar.gz").write_bytes(archive())
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(tarfile.TarFile, "extractall", fail)

    with pytest.raises(OSError, match="No space left") as error:
        benchmark_sets._extract(tmp_path / "Set5_HR.tar.gz")

    assert error.value.filename == str(tmp_path / "hub" / "srgan_dist" / "Set5_HR-Set5_HR.tar.")
    assert list((tmp_path / "hub" / "srgan_dist").iterdir()) == []
