import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srgan_dist.cli import app
from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.feed import open_data
from srgan_dist.data.shards.cache import Checks
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.utils.files import sha256_of
from tests.conftest import ROOT, TINY, Launch
from tests.data.servers import Server

aiohttp = pytest.importorskip("aiohttp")


@pytest.fixture
def server(shards: Path, tmp_path: Path):
    with Server(Path(shutil.copytree(shards, tmp_path / "served"))).running() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_remote_shards_are_the_local_ones_and_are_fetched_once(server: Server, shards: Path):
    for _ in range(2):
        remote, local = ShardSet((server.url,), "train"), ShardSet((str(shards),), "train")
        assert remote.keys == local.keys
        assert all(np.array_equal(remote.hr(i), local.hr(i)) for i in range(len(local)))
        assert remote.hashes == local.hashes

    assert server.gets == {"manifest.json": 1, "train-000000.tar": 1}


def test_a_changed_manifest_is_seen(server: Server):
    ShardLocation(server.url)
    file = server.folder / "manifest.json"
    content = json.loads(file.read_text()) | {"source": "another one"}
    file.write_text(json.dumps(content))
    os.utime(file, (1e9, 1e9))

    assert ShardLocation(server.url).manifest.source == "another one"


@pytest.mark.slow
@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_is_repaired(ranges: bool, server: Server, shards: Path):
    server.cut, server.ranges = {"train-000000.tar": 1}, ranges

    remote = ShardSet((server.url,), "train")

    assert np.array_equal(remote.hr(9), ShardSet((str(shards),), "train").hr(9))
    # Where something had arrived before the cut, going on from there is tried first; a server without ranges refuses.
    assert server.gets["train-000000.tar"] in ({2} if ranges else {2, 3})


@pytest.mark.parametrize("ranges", [True, False])
def test_what_a_killed_download_left_is_continued(ranges: bool, server: Server, cache: Path):
    server.ranges = ranges
    shard = ShardLocation(server.url).manifest.shards[0]
    partial = cache / "shards" / f".{shard.sha256[:32]}.tar.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes((server.folder / shard.name).read_bytes()[:5000])

    ShardSet((server.url,), "train")

    assert not partial.exists()
    assert server.gets[shard.name] == (1 if ranges else 2)


def test_a_corrupt_file_in_the_cache_is_fetched_again(server: Server, cache: Path, shards: Path):
    ShardSet((server.url,), "train")
    (file,) = (f for f in (cache / "shards").glob("*.tar") if f.stat().st_size > 200_000)
    file.write_bytes(file.read_bytes()[:-70000])

    remote = ShardSet((server.url,), "train")

    assert np.array_equal(remote.hr(9), ShardSet((str(shards),), "train").hr(9))
    assert server.gets["train-000000.tar"] == 2


def test_a_shard_corrupt_at_its_source_names_its_sample(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    file = server.folder / "train-000000.tar"
    content = bytearray(file.read_bytes())
    content[30000] ^= 1
    file.write_bytes(content)

    with pytest.raises(ValueError, match=rf"{server.url}/train-000000.tar, sample 001: corrupt"):
        ShardSet((server.url,), "train")

    assert ShardSet((server.url,), "train", "skip").bad.tolist() == [False, True] + [False] * 8


@pytest.mark.parametrize("name", ["manifest.json", "train-000000.tar"])
def test_404_is_one_line_that_names_the_url(name: str, server: Server, capsys):
    (server.folder / name).unlink()

    assert app.main(["shards", "verify", server.url]) == 1

    assert capsys.readouterr().err.strip().splitlines()[-1] == f"error: {server.url}/{name}: not found (404)"


def test_verify_leaves_of_a_remote_set_what_was_in_the_cache_before(server: Server, cache: Path, monkeypatch):
    ShardSet((server.url,), "valid")
    (before,) = (cache / "shards").glob("*.tar")
    reads: list[str] = []
    for module in ("verify", "remote"):
        monkeypatch.setattr(
            f"srgan_dist.data.shards.{module}.sha256_of", lambda f: reads.append(f.name) or sha256_of(f)
        )

    assert app.main(["shards", "verify", server.url]) == 0

    assert list((cache / "shards").glob("*.tar")) == [before]
    assert len(reads) == 2  # each file once
    assert server.gets["valid-000000.tar"] == 1


def cached(cache: Path, shards: ShardSet) -> bool:
    return (cache / "shards" / f"{shards.manifests[0].shards[0].sha256[:32]}.tar").exists()


@pytest.mark.parametrize("closes_first", [0, 1])
def test_a_set_removes_from_the_cache_only_what_it_downloaded(
    closes_first: int, server: Server, cache: Path, shards: Path
):
    runs = [ShardSet((server.url,), "train", lazy=True) for _ in range(2)]
    for run in runs:
        run.open([0])
    hr = runs[1 - closes_first].hr(9)

    runs[closes_first].close(0)

    assert cached(cache, runs[0]) == (closes_first == 1)
    assert np.array_equal(hr, ShardSet((str(shards),), "train").hr(9))
    runs[1 - closes_first].close(0)
    assert not cached(cache, runs[0])
    assert server.gets["train-000000.tar"] == 1


def test_a_shard_that_is_still_mapped_where_this_keeps_it_is_removed_later(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    windowed = ShardSet((server.url,), "train", lazy=True)
    windowed.open([0])
    in_use, remove = [True], Path.unlink

    def unlink(file: Path, missing_ok: bool = False) -> None:
        if in_use and file.suffix == ".tar":
            raise PermissionError(13, "The process cannot access the file")  # as on Windows
        remove(file, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    windowed.close(0)
    kept = cached(cache, windowed)
    in_use.clear()
    location, shard = windowed._shards[0]
    location.drop(shard)  # as for any other shard

    assert kept
    assert not cached(cache, windowed)


def test_what_an_earlier_run_left_in_the_cache_stays(server: Server, cache: Path):
    ShardSet((server.url,), "train")
    windowed = ShardSet((server.url,), "train", lazy=True)

    windowed.open([0])
    windowed.close(0)

    assert cached(cache, windowed)


@pytest.mark.parametrize("when", ["before the check", "before the map"])
def test_a_shard_that_another_run_removes_before_it_is_mapped_is_fetched_again(
    when: str, server: Server, shards: Path, monkeypatch: pytest.MonkeyPatch
):
    other, run = (ShardSet((server.url,), "train", "skip", lazy=True) for _ in range(2))
    other.open([0])
    module, name = {"before the check": (Checks, "faults"), "before the map": (ShardLocation, "file")}[when]
    original = getattr(module, name)

    def racing(*args, **kwargs):
        if when == "before the check":
            other.close(0)
            return original(*args, **kwargs)
        result = original(*args, **kwargs)
        other.close(0)
        return result

    monkeypatch.setattr(module, name, racing)
    run.open([0])

    assert not run.bad.any()
    assert np.array_equal(run.hr(9), ShardSet((str(shards),), "train").hr(9))
    assert server.gets["train-000000.tar"] == 2


def test_a_shard_that_vanishes_each_time_is_an_error_and_no_data(server: Server, monkeypatch: pytest.MonkeyPatch):
    run = ShardSet((server.url,), "train", "skip", lazy=True)
    monkeypatch.setattr("srgan_dist.data.shards.shard_set._map", lambda file: None)

    with pytest.raises(ValueError, match=rf"{server.url}/train-000000.tar: its file is removed from the cache again"):
        run.open([0])


def test_no_server_is_one_line_that_names_the_url(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    assert app.main(["shards", "verify", "http://127.0.0.1:9/shards"]) == 1

    assert "error: http://127.0.0.1:9/shards/manifest.json: cannot be read" in capsys.readouterr().err


def test_a_warm_cache_needs_no_network(shards: Path, tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with Server(Path(shutil.copytree(shards, tmp_path / "served"))).running() as server:
        ShardSet((server.url,), "train")
    config = DataConfig(shards=(server.url,), hr_crop=32, batch=2)

    offline = ShardSet((server.url,), "train")
    assert np.array_equal(offline.hr(9), ShardSet((str(shards),), "train").hr(9))
    assert [r.levelname for r in caplog.records if "using the copy of the last download" in r.message] == ["WARNING"]

    with pytest.raises(ValueError, match=rf"{server.url}/valid-000000.tar: cannot be read"):  # never downloaded
        open_data(config, 2, 0, 0)


def test_a_manifest_that_is_gone_or_forbidden_is_not_taken_from_the_cache(server: Server):
    ShardLocation(server.url)
    (server.folder / "manifest.json").unlink()

    with pytest.raises(ValueError, match=r"manifest.json: not found \(404\)"):
        ShardLocation(server.url)


def test_an_unknown_scheme_is_named(capsys):
    assert app.main(["shards", "verify", "gopher://shards"]) == 1
    assert "gopher://shards is neither a local path nor a URL of http, https, hf, s3, gs" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_of_one_machine_download_each_shard_once(server: Server):
    code = f"from srgan_dist.data.shards.shard_set import ShardSet; print(len(ShardSet(({server.url!r},), 'train')))"
    command = [sys.executable, "-c", code]

    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    assert [p.communicate()[0].strip() for p in processes] == ["10"] * 3
    assert server.gets == {"manifest.json": 1, "train-000000.tar": 1}


@pytest.mark.slow
def test_two_processes_train_from_a_url_and_afterwards_nothing_is_downloaded(
    server: Server, launch: Launch, tmp_path: Path
):
    flags = ("quickstart", *TINY, "--scale=2", f"--data.shards={server.url}", "--pretrain.steps=2")
    flags += ("--adversarial.steps=0", "--tracking.enabled=False", f"--run-dir={tmp_path / 'run'}")

    done = launch(*flags, processes=2)

    assert done.returncode == 0, done.stderr[-3000:]
    once = {"manifest.json": 1, "train-000000.tar": 1, "valid-000000.tar": 1}
    assert server.gets == once
    open_data(DataConfig(shards=(server.url,), hr_crop=32), scale=2, seed=0, rank=0)
    assert server.gets == once


@pytest.fixture
def bucket(shards: Path, monkeypatch: pytest.MonkeyPatch):
    """A bucket on a local S3 server that holds the shards, and the server's address."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    fsspec = pytest.importorskip("fsspec")
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fs.mkdir("images")
    for f in shards.iterdir():
        fs.put_file(str(f), f"images/x2/{f.name}")
    yield "s3://images/x2"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.mark.slow
def test_s3_serves_shards_and_the_second_time_nothing_is_fetched(bucket: str, shards: Path, monkeypatch):
    from srgan_dist.data.shards import remote

    fetched: list[str] = []
    download = remote._download
    monkeypatch.setattr(remote, "_download", lambda url, *rest: (fetched.append(url), download(url, *rest)))
    local = ShardSet((str(shards),), "train")

    for _ in range(2):
        assert np.array_equal(ShardSet((bucket,), "train").hr(3), local.hr(3))

    assert fetched == [f"{bucket}/manifest.json", f"{bucket}/train-000000.tar"]
    with pytest.raises(ValueError, match=r"s3://images/other/manifest.json: not found"):
        ShardLocation("s3://images/other")
