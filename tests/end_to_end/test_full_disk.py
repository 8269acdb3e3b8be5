"""Disks that fill up: one line with the file's name, and after room is made the same command gives the same bytes."""

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from srgan_dist.cli.app import main
from srgan_dist.cli.train import train_main
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from tests.conftest import TINY, write_images
from tests.data.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.extended]


class SmallDisk:
    """A file system of its own, in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, kib: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kib}k", str(self.folder)], check=True)

    def hashes(self, *suffixes: str) -> dict[str, str]:
        files = [f for f in self.folder.rglob("*") if f.is_file() and f.suffix in suffixes]
        return {str(f.relative_to(self.folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    def leftovers(self) -> list[Path]:
        return [f for f in self.folder.rglob("*") if ".partial" in f.name]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.name == "nt" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield SmallDisk(folder)
    with contextlib.suppress(OSError):
        os.chdir("/")
    subprocess.run(["umount", "-l", str(folder)], check=False)


def one_line_with(error: str, name: str) -> bool:
    found = [line for line in error.splitlines() if line.startswith("error")]
    return len(found) == 1 and name in found[0] and "No space left" in found[0] and "Traceback" not in error


def fails_then_gives(disk: SmallDisk, run: Callable[[], int], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 1
    error = capsys.readouterr().err
    assert one_line_with(error, name), error
    assert not disk.leftovers()
    disk.resize(65536)
    assert run() == 0
    assert not disk.leftovers()


def test_packing(disk: SmallDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    images = write_images(tmp_path / "images", 12)

    def pack(out: Path) -> int:
        return main(["pack", "folder", "--root", str(images), "--scale", "2", "--out", str(out)])

    fails_then_gives(disk, lambda: pack(disk.folder / "out"), str(disk.folder), capsys)

    assert pack(tmp_path / "undisturbed") == 0
    undisturbed = SmallDisk(tmp_path / "undisturbed").hashes(".tar", ".json")
    assert SmallDisk(disk.folder / "out").hashes(".tar", ".json") == undisturbed


def test_export(disk: SmallDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = SRResNetConfig(blocks=2, channels=32)
    torch.manual_seed(0)
    source = tmp_path / "srresnet.safetensors"
    save_generator(source, config.build(2), config, {"label": "SRResNet", "scale": 2, "degradation": "given"})

    def export(out: Path) -> int:
        return main(["export", str(source), "--out", str(out)])

    fails_then_gives(disk, lambda: export(disk.folder / "out.safetensors"), "out.safetensors", capsys)

    (tmp_path / "undisturbed").mkdir()
    assert export(tmp_path / "undisturbed" / "out.safetensors") == 0
    assert disk.hashes(".safetensors") == SmallDisk(tmp_path / "undisturbed").hashes(".safetensors")


def test_a_run_directory(
    disk: SmallDisk, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    disk.resize(160)

    def train(run: Path) -> int:
        return train_main(
            ["quickstart", "--data.shards", str(shards), *TINY, "--pretrain.steps=4", "--adversarial.steps=4",
             "--checkpoint.every=2", "--validation.every=4", "--run-dir", str(run)]
        )  # fmt: skip

    run = disk.folder / "run"
    assert train(run) == 1
    error = capsys.readouterr().err
    assert one_line_with(error, str(run)), error
    assert json.loads((run / "status.json").read_text())["state"] == "failed"
    disk.resize(65536)
    assert train(run) == 0
    assert not disk.leftovers()

    assert train(tmp_path / "undisturbed") == 0
    undisturbed = SmallDisk(tmp_path / "undisturbed").hashes(".safetensors")
    assert SmallDisk(run).hashes(".safetensors") == undisturbed


def test_the_cache(
    disk: SmallDisk, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("aiohttp")
    monkeypatch.chdir(tmp_path)

    def train(address: str, cache: Path, run: str) -> int:
        monkeypatch.setenv("SRGAN_CACHE", str(cache))
        return train_main(
            ["quickstart", f"--data.shards={address}", *TINY, "--pretrain.steps=2", "--adversarial.steps=2",
             "--scale=2", "--run-dir", str(tmp_path / run)]
        )  # fmt: skip

    with Server(shards).running() as server:
        assert train(server.url, disk.folder, "run") == 1
        error = capsys.readouterr().err
        assert one_line_with(error, str(disk.folder / "shards")), error
        assert "retrying" not in error
        disk.resize(65536)
        assert train(server.url, disk.folder, "run") == 0
        assert not disk.leftovers()
        assert train(server.url, tmp_path / "cache", "undisturbed") == 0

    assert disk.hashes(".tar") == SmallDisk(tmp_path / "cache").hashes(".tar")
    undisturbed = SmallDisk(tmp_path / "undisturbed").hashes(".safetensors")
    assert SmallDisk(tmp_path / "run").hashes(".safetensors") == undisturbed


@pytest.mark.parametrize("what", ["tables", "numbers", "artifacts"])
def test_the_store_of_mlflow(
    what: str, disk: SmallDisk, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    """The tables, the numbers or the artifacts of a run do not fit."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path if what == 'artifacts' else disk.folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = tmp_path / "run"

    if what != "tables":
        disk.resize(65536)
        MlflowClient(uri).create_experiment("quickstart", f"file://{disk.folder}/artifacts")
        used = sum(f.stat().st_size for f in disk.folder.glob("*"))
        disk.resize(used // 1024 + 12)
    assert train_main(
        ["quickstart", "--data.shards", str(shards), *TINY, "--pretrain.steps=4", "--adversarial.steps=4",
         "--validation.every=4", "--run-dir", str(run)]
    ) == 0  # fmt: skip
    error = capsys.readouterr().err
    assert error.count("cannot be reached") == 1, error
    assert f"the disk of the {'artifacts' if what == 'artifacts' else 'database'} is full" in error
    assert "Traceback" not in error
    assert main(["track", "sync", str(run)]) == 1
    error = capsys.readouterr().err
    assert error.count("error: ") == 1, error
    assert "Traceback" not in error

    disk.resize(65536)
    assert main(["track", "sync", str(run)]) == 0
    client, number = MlflowClient(uri), json.loads((run / "mlflow.json").read_text())["run_id"]
    assert client.get_run(number).info.status == "FINISHED"
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        for name in line.keys() - {"step", "time"}:
            stored = [m.value for m in client.get_metric_history(number, name) if m.step == line["step"]]
            assert stored == [line[name]], name
    assert client.list_artifacts(number, "images")
    assert not list((run / "tracking" / "outbox").glob("*"))
    assert not disk.leftovers()
