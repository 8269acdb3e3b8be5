import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from srgan_dist.utils import download as module
from srgan_dist.utils.download import DownloadError, download
from tests.data.servers import Server

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_PAUSE", 0)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "net.pth").write_bytes(CONTENT)
    with Server(folder).running() as server:
        yield server


def fetch(server: Server, file: Path) -> None:
    download(f"{server.url}/net.pth", file, SHA256, len(CONTENT))


def visible(file: Path) -> list[str]:
    return sorted(f.name for f in file.parent.iterdir() if not f.name.endswith(".lock"))


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path):
    file = tmp_path / "cache" / "net.pth"

    fetch(server, file)
    fetch(server, file)

    assert file.read_bytes() == CONTENT
    assert server.gets == {"net.pth": 1}
    assert visible(file) == ["net.pth"]


def test_processes_that_want_the_same_file_download_it_once(server: Server, tmp_path: Path):
    file = tmp_path / "cache" / "net.pth"
    threads = [threading.Thread(target=fetch, args=(server, file)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert file.read_bytes() == CONTENT
    assert server.gets == {"net.pth": 1}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_ends_early_is_continued(server: Server, tmp_path: Path, ranges: bool):
    server.cut, server.ranges = {"net.pth": 1}, ranges
    file = tmp_path / "cache" / "net.pth"

    fetch(server, file)

    assert file.read_bytes() == CONTENT
    assert server.gets == {"net.pth": 2}


def test_an_interrupted_download_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    server.cut = {"net.pth": 99}
    file = tmp_path / "cache" / "net.pth"
    with pytest.raises(DownloadError, match=r"the connection ended after 917,504 of 1,048,576 bytes"):
        fetch(server, file)
    assert visible(file) == [".net.pth.partial"]

    server.cut, requests = {}, server.gets["net.pth"]
    fetch(server, file)

    assert file.read_bytes() == CONTENT
    assert server.gets["net.pth"] == requests + 1
    assert visible(file) == ["net.pth"]


def test_what_arrived_completely_before_an_interruption_is_not_downloaded_again(server: Server, tmp_path: Path):
    file = tmp_path / "cache" / "net.pth"
    file.parent.mkdir()
    (file.parent / ".net.pth.partial").write_bytes(CONTENT)

    fetch(server, file)

    assert file.read_bytes() == CONTENT
    assert not server.gets


def test_another_content_is_refused_and_removed(server: Server, tmp_path: Path):
    (server.folder / "net.pth").write_bytes(CONTENT[::-1])
    file = tmp_path / "cache" / "net.pth"

    with pytest.raises(DownloadError, match=r"its sha256 is .*\.\.\., not .*; it was removed"):
        fetch(server, file)

    assert visible(file) == []


def test_a_damaged_beginning_costs_one_more_download_only(server: Server, tmp_path: Path):
    file = tmp_path / "cache" / "net.pth"
    file.parent.mkdir()
    (file.parent / ".net.pth.partial").write_bytes(b"\0" * 1000)

    with pytest.raises(DownloadError, match="its sha256 is"):
        fetch(server, file)
    fetch(server, file)

    assert file.read_bytes() == CONTENT


def test_a_page_instead_of_the_file_is_refused_at_once(server: Server, tmp_path: Path):
    (server.folder / "net.pth").write_bytes(b"<html>Log in to this network</html>")
    file = tmp_path / "cache" / "net.pth"

    with pytest.raises(DownloadError, match="the server offers 35 bytes instead of 1,048,576"):
        fetch(server, file)

    assert server.gets == {"net.pth": 1}
    assert visible(file) == []


def test_a_missing_file_is_not_asked_for_twice(server: Server, tmp_path: Path):
    (server.folder / "net.pth").unlink()

    with pytest.raises(DownloadError, match="404"):
        fetch(server, tmp_path / "cache" / "net.pth")

    assert server.gets == {"net.pth": 1}


def test_an_unreachable_server_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PAUSE", 0)

    with pytest.raises(DownloadError, match="refused"):
        download("http://127.0.0.1:9/net.pth", tmp_path / "net.pth", SHA256, 10)
