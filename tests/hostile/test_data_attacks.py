"""Attacks through shards, manifests, streams and servers. Each of them worked, or ended in a traceback or a hang."""

import io
import logging
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.cli import app
from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.feed import open_data
from srgan_dist.data.loading.prefetch import StoppedWaitingError
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.manifest_parser import MOST_BYTES, parse_manifest
from srgan_dist.data.shards.shard_set import ShardSet
from tests.conftest import random_image
from tests.hostile.attacks import changed_manifest, gzip_bomb, lying_server, tar_of

CPU = torch.device("cpu")


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "shards"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def one_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "\n" not in said
    return said


# Manifests


@pytest.mark.parametrize("sha256", ["../../../victim", "/tmp/x", "..", "A" * 64, "0" * 63, 7, None, ["0" * 64]])
def test_a_sha256_that_is_a_path_writes_nothing_outside_the_cache(sha256: object, copy: Path, cache: Path):
    pytest.importorskip("aiohttp")
    victim = cache.parent / "victim.tar"
    victim.write_text("mine")
    changed_manifest(copy, lambda d: d["shards"][0].update(sha256=sha256))

    with (
        lying_server((copy / "manifest.json").read_bytes()) as (url, _),
        pytest.raises(ValueError, match="64 hexadecimal digits"),
    ):
        ShardSet((url,), "train")

    assert victim.read_text() == "mine"
    assert all(str(f).startswith(str(cache)) for f in files_in(cache.parent) if "cache" in f)


NAMES = ["../other.tar", "/etc/passwd", "a/b.tar", "..", "", "x\0.tar", "c:x.tar", "..\\x.tar", "x\n.tar", "x.png", 5]


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_name_that_is_a_path_is_refused(name: object, copy: Path):
    changed_manifest(copy, lambda d: d["shards"][0].update(name=name))

    with pytest.raises(ValueError, match=r"manifest.json: not valid srgan-shards/1"):
        ShardLocation(str(copy))


def set_column(name: str, value: object) -> Callable:
    def change(d: dict) -> None:
        d["shards"][0]["samples"][name][3] = value

    return change


NUMBERS: list[tuple[Callable, str]] = [
    (set_column("hr_height", 1 << 40), "more pixels|a side"),
    (set_column("hr_height", 10**30), "not an integer"),
    (set_column("hr_height", 0), "a side"),
    (set_column("lr_width", -36), "not an integer"),
    (set_column("offset", -512), "not an integer"),
    (set_column("offset", 1 << 45), "outside of the file"),
    (set_column("lr_offset", 1 << 45), "its lr lies outside"),
    (set_column("hr_bytes", 10), "more pixels"),
    (set_column("bytes", 2.5), "not an integer"),
    (set_column("bytes", True), "not an integer"),
    (set_column("bytes", "12"), "not an integer"),
    (set_column("key", 5), "a key"),
    (set_column("key", "k" * 5000), "a key"),
    (lambda d: d.update(scale=0), "scale is 0"),
    (lambda d: d.update(scale=10**9), "scale is"),
    (lambda d: d.update(scale=True), "scale is True"),
    (lambda d: d.update(scale=3), "its hr is not 3 x lr"),
    (lambda d: d.update(encoding="exe"), "encoding is 'exe'"),
    (lambda d: d.update(encoding=["raw"]), "encoding is a list"),
    (lambda d: d.update(shards={}), "shards is a dict"),
    (lambda d: d.update(shards=[5]), "not an object"),
    (lambda d: d.update(source="s" * 10**6), "source is"),
    (lambda d: d["shards"].append(d["shards"][0]), "same name"),
    (lambda d: d["shards"][0].update(bytes=-1), "bytes is -1"),
    (lambda d: d["shards"][0].update(samples=None), "samples is missing"),
    (lambda d: d["shards"][0]["samples"].update(offset=[[]] * 10), "not an integer"),
]


@pytest.mark.parametrize(("change", "line"), NUMBERS)
def test_a_number_outside_of_the_file_is_refused_before_it_is_used(change: Callable, line: str, copy: Path):
    changed_manifest(copy, change)

    with pytest.raises(ValueError, match=rf"manifest.json: not valid .*({line})"):
        ShardLocation(str(copy))


DOCUMENTS = [b"", b"[]", b"7", b"\xff\xfe", b'{"format":' * 100_000, b"[" * 3_000_000, b'{"format": NaN}', b"{} {}",
             b'{"format": ["srgan-shards/1"]}', b'{"format": ' + b"9" * 10_000 + b"}"]  # fmt: skip


@pytest.mark.parametrize("content", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_document_that_is_no_manifest_is_one_error(content: bytes):
    with pytest.raises(ValueError, match=r"^m: (corrupt|format)"):
        parse_manifest(content, "m")


def test_a_manifest_that_promises_more_than_the_checked_file_has_is_refused(copy: Path, cache: Path):
    """The result of an earlier verification is stored by hash; the manifest may lie about the size of that file."""
    ShardSet((str(copy),), "train")

    def grow(d: dict) -> None:
        shard = d["shards"][0]
        for name in ("bytes", "hr_bytes"):
            shard["samples"][name][9] += 1 << 30
        shard["bytes"] += 1 << 31
        shard["samples"]["lr_offset"][9] += 0
        shard["samples"]["hr_height"][9], shard["samples"]["lr_height"][9] = 72 * 1000, 36 * 1000
        shard["samples"]["lr_bytes"][9] += 1 << 27

    changed_manifest(copy, grow)

    with pytest.raises(ValueError, match=r"train-000000.tar, sample 009: (truncated|.*differs)"):
        ShardSet((str(copy),), "train").hr(9)


# Servers


def test_a_server_that_sends_more_than_promised_is_stopped(copy: Path, cache: Path):
    pytest.importorskip("aiohttp")
    with lying_server((copy / "manifest.json").read_bytes()) as (url, server):
        with pytest.raises(ValueError, match=r"train-000000.tar: larger than the \d+ bytes that were expected"):
            ShardSet((url,), "train")
        assert server.sent < 64 << 20

    assert not list((cache / "shards").glob("*.tar"))
    assert not list((cache / "shards").glob(".*.partial"))


def test_a_manifest_without_end_is_stopped(cache: Path):
    pytest.importorskip("aiohttp")
    with lying_server(None) as (url, server):
        with pytest.raises(ValueError, match=r"manifest.json: larger than"):
            ShardLocation(url)
        assert server.sent < 2 * MOST_BYTES + (64 << 20)

    assert sum(len(content) for content in files_in(cache).values()) < 1 << 20


@pytest.mark.parametrize(
    "location", ["gopher://x", "ftp://x/y", "simplecache::http://x/", "https://x::file:///etc", "ssh://x/y", "pipe:ls"]
)
def test_only_schemes_that_are_known_by_name_are_opened(location: str):
    for config in (DataConfig(shards=(location,)), DataConfig(stream=(location,))):
        with pytest.raises(ValueError, match=r"neither a local path nor a URL|--allow-pipe|no manifest\.json"):
            open_data(config, 4, 0, 0)


# Streams


def stream_of(file: Path, content: bytes, **fields: object) -> DataConfig:
    file.write_bytes(content)
    return DataConfig(stream=(str(file),), hr_crop=32, batch=2, **fields)  # type: ignore[arg-type]


def next_of(config: DataConfig, **how: bool):
    batches = open_data(config, 2, 0, 0, **how)[0].batches(2, 0, 2, CPU)
    try:
        return next(batches)
    finally:
        batches.close()


def png(seed: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(random_image(64, 64, seed)).save(out, "PNG")
    return out.getvalue()


def test_a_configuration_cannot_run_a_shell_command(tmp_path: Path):
    config = DataConfig(stream=(f"pipe:touch {tmp_path / 'ran'}",), hr_crop=32)

    with pytest.raises(ValueError, match=r"is a shell command.*add --allow-pipe to the command line"):
        next_of(config)

    assert not (tmp_path / "ran").exists()


def test_the_command_line_can_allow_a_shell_command(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(tar_of({f"{n}.png": png(n) for n in range(3)}))

    batch = next_of(DataConfig(stream=(f"pipe:cat {tmp_path / 'a.tar'}",), hr_crop=32), allow_pipe=True)

    assert batch.hr.shape == (2, 3, 32, 32)


EMPTY = {
    "an empty tar": tar_of({}),
    "only a folder": tar_of({}, ("folder",)),
    "only text": tar_of({"a.txt": b"hello"}),
    "an empty extension": tar_of({"a.": b"hello"}),
    "an empty file": b"",
    "no tar": b"<html>" * 1000,
    "only bad images": tar_of({f"{n}.png": b"no" for n in range(50)}),
}


@pytest.mark.parametrize("content", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_a_stream_without_a_usable_sample_ends_with_one_error(content: bytes, on_bad: str, tmp_path: Path, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(ValueError, match=r"data.stream: .*a.tar") as error:
        next_of(stream_of(tmp_path / "a.tar", content, on_bad=on_bad))

    assert "\n" not in str(error.value)
    assert len([r for r in caplog.records if "skipped" in r.message]) < 30


def test_skipping_does_not_flood_the_log(tmp_path: Path, caplog):
    good = {f"good{n}.png": png(n) for n in range(2)}
    config = stream_of(tmp_path / "a.tar", tar_of(good | {f"bad{n}.png": b"no" for n in range(200)}), on_bad="skip")

    with caplog.at_level(logging.WARNING):
        next_of(config)  # fills a buffer of 512 crops: 32 rounds

    assert len(caplog.records) < 40


def test_a_stop_request_ends_the_wait_for_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("srgan_dist.data.loading.prefetch._PATIENCE", 0.5)
    import os

    os.mkfifo(tmp_path / "never.tar")  # a server that accepts and stays silent
    batches = open_data(DataConfig(stream=(str(tmp_path / "never.tar"),), hr_crop=32), 2, 0, 0)[0].batches(2, 0, 2, CPU)
    batches.stop_requested = lambda: "signal"
    started = time.monotonic()

    with pytest.raises(StoppedWaitingError, match="signal"):
        next(batches)
    batches.close()

    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", tarfile.REGTYPE),
        pytest.param("x", tarfile.XHDTYPE, marks=pytest.mark.extended),
        pytest.param("a.txt", tarfile.REGTYPE, marks=pytest.mark.extended),
    ],
)
def test_a_gzip_bomb_ends_at_the_size_that_its_header_declares(name: str, kind: bytes, tmp_path: Path):
    bomb = gzip_bomb(name, 400 << 20, kind)
    assert len(bomb) < 4 << 20

    with pytest.raises(ValueError, match=r"a.tar.*declares 419430400 bytes"):
        next_of(stream_of(tmp_path / "a.tar", bomb))


@pytest.mark.parametrize("pattern", ["{0..999999999}", "{0..9}" * 9, "{a,b,c,d}" * 12, "{0..1", "{" * 50])
def test_braces_that_stand_for_too_much_are_refused(pattern: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"data.stream: "):
        next_of(DataConfig(stream=(str(tmp_path / f"{pattern}.tar"),), hr_crop=32))


# Index


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


PAIRS = {
    "no lr": {"a.hr.png": png()},
    "text": {"a.hr.png": png(), "a.lr.txt": b"x"},
    "no image": {"a.hr.png": png(), "a.lr.png": b"no"},
    "height zero": {"a.hr.npy": npy(np.zeros((0, 8, 3), np.uint8)), "a.lr.npy": npy(np.zeros((0, 4, 3), np.uint8))},
    "negative": {"a.hr.npy": npy(np.zeros((8, 8, 3), np.uint8)).replace(b"(8, 8", b"(-8, 8"), "a.lr.png": png()},
    "floats": {"a.hr.npy": npy(np.zeros((8, 8, 3))), "a.lr.npy": npy(np.zeros((4, 4, 3)))},
    "objects": {"a.hr.npy": npy(np.zeros((8, 8, 3), "S100")), "a.lr.npy": b""},
    "scale": {"a.hr.png": png(), "a.lr.png": png()[:-200]},
}


@pytest.mark.parametrize("members", PAIRS.values(), ids=PAIRS)
def test_index_shows_its_own_message(members: dict[str, bytes], tmp_path: Path, capsys):
    (tmp_path / "a.tar").write_bytes(tar_of(members))

    assert app.main(["shards", "index", str(tmp_path)]) == 1

    assert "a.tar, sample a" in one_error_line(capsys)
    assert not (tmp_path / "manifest.json").exists()


def test_index_does_not_open_a_compressed_tar(tmp_path: Path, capsys):
    (tmp_path / "a.tar").write_bytes(gzip_bomb("a.hr.png", 300 << 20))
    started = time.monotonic()

    assert app.main(["shards", "index", str(tmp_path)]) == 1

    assert "no samples" in one_error_line(capsys)
    assert time.monotonic() - started < 10


def test_verify_refuses_sizes_of_zero(copy: Path, capsys):
    def zero(d: dict) -> None:
        for name in ("hr_height", "lr_height"):
            d["shards"][0]["samples"][name][0] = 0

    changed_manifest(copy, zero)

    assert app.main(["shards", "verify", str(copy)]) == 1
    assert "has a side that is not from 1" in one_error_line(capsys)
