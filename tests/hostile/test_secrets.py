"""Secrets in URLs and in the environment stay in memory: no file of a run contains them."""

import json
import os
import re
import sqlite3
from pathlib import Path

import pytest
import torch

from srgan_dist.cli import app
from srgan_dist.cli.train import train_main
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.models import SpandrelConfig, SRResNetConfig
from srgan_dist.models.export import export_generator
from srgan_dist.models.files import load_generator, save_generator
from srgan_dist.runs.environment import session_facts
from srgan_dist.tracking.state import TrackingStateFile
from srgan_dist.training.config import TrainConfig, dump, read_config
from srgan_dist.training.reports.reporting import environment
from srgan_dist.utils.addresses import public, redacted, redacted_command
from tests.conftest import TINY
from tests.hostile.attacks import signed_server
from tests.tracking.conftest import Server

NOTES = {"label": "tiny", "scale": 2, "degradation": "matlab-mirror"}

URLS = {
    "https://u:SECRET@h.org/a/b.tar": "https://h.org/a/b.tar",
    "https://h.org/a?sig=SECRET": "https://h.org/a",
    "https://h.org/a#SECRET": "https://h.org/a",
    "https://SECRET@h.org": "https://h.org",
    "https://u:p@SECRET@h.org/x@y": "https://h.org/x@y",
    "https://h.org?SECRET/a": "https://h.org",
    "S3://k:SECRET@bucket/key": "S3://bucket/key",
    "postgresql+psycopg2://u:SECRET@db:5432/x?password=SECRET": "postgresql+psycopg2://db:5432/x",
    "pipe:curl -H 'X: SECRET' https://h/?SECRET | cat": "pipe:curl [not saved]",
    "pipe:TOKEN=SECRET curl x": "pipe: [not saved]",
    "pipe:": "pipe: [not saved]",
    "/data/a?b#c@d": "/data/a?b#c@d",
}


@pytest.mark.parametrize(("url", "expected"), URLS.items())
def test_what_is_written_of_a_url(url: str, expected: str):
    assert public(url) == expected
    assert public(expected) == expected
    assert "SECRET" not in redacted(f"cannot open '{url}', retrying") or url.startswith(("/", "pipe:"))
    assert "SECRET" not in " ".join(redacted_command(["train", f"--data.stream={url}", url]))


def test_configuration_command_and_tracking_state_are_written_without_secrets(tmp_path: Path):
    config = read_config_with(tmp_path, {"shards": ["https://u:SECRET@h/x?SECRET"], "stream": ["pipe:curl SECRET"]})
    command = ["train.py", "--data.shards", "https://u:SECRET@h/x?SECRET", "--data.stream=pipe:curl -u a:SECRET b"]
    TrackingStateFile(tmp_path, "http://u:SECRET@h:5000/?SECRET").update(run_id="1")

    facts = session_facts(torch.device("cpu"), 1, "no", command)

    assert "SECRET" in str(config)  # the run itself needs it
    assert "SECRET" not in dump(config)
    assert "SECRET" not in json.dumps(facts)
    assert "SECRET" not in json.dumps(environment.tags(facts))
    assert "SECRET" not in (tmp_path / "mlflow.json").read_text()


def read_config_with(folder: Path, data: dict) -> TrainConfig:
    (folder / "c.yaml").write_text(json.dumps({"data": data}))
    return read_config(folder / "c.yaml")


def test_a_signed_url_works_and_after_a_resume_from_the_environment(shards: Path, tmp_path: Path, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))
    with signed_server(shards, "PASSWORD", "SIGNATURE") as host:
        full, saved = f"http://me:PASSWORD@{host}/?sig=SIGNATURE", f"http://{host}"
        opened = ShardLocation(full)
        file, faults = opened.file(opened.manifest.shards[0])
        assert (file.stat().st_size, faults) == (opened.manifest.shards[0].bytes, [])
        assert opened.location == saved

        with pytest.raises(ValueError, match=r"access denied; .*pass it again or set SRGAN_SIGNED_URLS") as error:
            ShardLocation(saved)
        assert "SIGNATURE" not in str(error.value)

        monkeypatch.setenv("SRGAN_SIGNED_URLS", f"https://example.org/?sig=other {full}")
        assert ShardLocation(saved).hash == opened.hash


def test_a_server_of_somebody_else_does_not_get_the_signature(monkeypatch):
    from srgan_dist.utils.addresses import with_secrets

    monkeypatch.setenv("SRGAN_SIGNED_URLS", "https://mine.org/a?sig=SECRET")

    for url in ("https://evil.org/a", "https://mine.org/b", "http://mine.org/a", "https://mine.org.evil.org/a"):
        assert with_secrets(url) == url


def all_text(value: object) -> str:
    return json.dumps(value)


@pytest.mark.parametrize("kind", ["safetensors", pytest.param("onnx", marks=pytest.mark.extended)])
def test_exported_files_carry_no_paths_addresses_or_command_line(kind: str, tmp_path: Path):
    run = tmp_path / "home" / "me" / "run"
    (run / "models").mkdir(parents=True)
    training = {
        "run_dir": str(run), "weights": "mine.pth", "scale": 2, "seed": 7, "data": {
            "shards": ["https://u:SECRET@h/x"], "stream": ["pipe:curl SECRET"], "cache": "cache", "hr_crop": 96},
        "generator": {"type": "spandrel", "file": "/home/me/x.pth"}, "loss": {"weights": {"pixel": 1.0}},
        "tracking": {"experiment": "SECRET project"}, "command": "srgan train", "list": ["/home/me", 3, "C:\\\\me"],
    }  # fmt: skip
    (run / "config.json").write_text(json.dumps(training))
    config = SRResNetConfig(blocks=1, channels=4)
    source = run / "models" / "tiny.safetensors"
    save_generator(source, config.build(2), config, NOTES | {"origin": "https://u:SECRET@h/x", "data": ["0" * 64]})

    out = tmp_path / "out" / f"tiny.{kind}"
    export_generator(load_generator(source), out, kind, "mit", source)  # type: ignore[arg-type]

    words = [b"SECRET", b"/home", b"://h", b"curl", b"srgan_dist/models/", str(tmp_path).encode()]
    found = [(f.name, w) for f in (out, out.with_name(f"{out.name}.md")) for w in words if w in f.read_bytes()]
    assert not found
    if kind == "safetensors":
        notes = load_generator(out).notes
        assert notes["training"]["seed"] == 7
        assert notes["training"]["loss"] == {"weights": {"pixel": 1.0}}
        assert notes["data"] == ["0" * 64]


def test_the_header_of_another_architecture_names_no_path():
    from srgan_dist.models import architecture

    assert str(architecture(SpandrelConfig(file=Path("/home/me/x.pth")))).count("/") == 0


@pytest.mark.slow
@pytest.mark.extended
def test_nothing_that_a_run_leaves_contains_one_of_six_secrets(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, caplog
):
    """Files, MLflow's database and artifacts, exported weights, the comparison page, and what is printed."""
    pytest.importorskip("aiohttp")
    secrets = {name: f"SECRET{name}0123456789" for name in ("password", "signature", "tracking", "hub", "aws", "token")}
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    store.mkdir()
    server = Server(store, "server", "--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--artifacts-destination",
                    str(store / "artifacts"))  # fmt: skip
    server.start()
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri.replace("://", f"://me:{secrets['tracking']}@"))
    for name, key in (("HF_TOKEN", "hub"), ("AWS_SECRET_ACCESS_KEY", "aws"), ("MLFLOW_TRACKING_TOKEN", "token")):
        monkeypatch.setenv(name, secrets[key])
    try:
        with signed_server(shards, secrets["password"], secrets["signature"]) as host:
            url = f"http://me:{secrets['password']}@{host}/?sig={secrets['signature']}"
            words = ["quickstart", f"--data.shards={url}", *TINY, "--pretrain.steps=4", "--adversarial.steps=4",
                     "--validation.every=4", "--run-dir=runs/a"]  # fmt: skip
            monkeypatch.setattr("sys.orig_argv", ["python", "train.py", *words])
            assert train_main(words) == 0
            assert train_main([*words, "--adversarial.steps=6"]) == 0  # resumed
        assert app.main(["export", "runs/a", "--out", "out/a.safetensors"]) == 0
        assert app.main(["export", "runs/a", "--out", "out/a.onnx", "--format", "onnx"]) == 0
        assert app.main(["compare", "runs/a", "runs/a/models/srresnet.safetensors", "--data", str(shards),
                         "--out", "out/page.html"]) == 0  # fmt: skip
        assert app.main(["repro", "runs/a"]) == 0
        assert app.main(["track", "sync", "runs/a"]) == 0
    finally:
        server.stop()

    printed = capsys.readouterr()
    found = [f"printed: {name}" for name, s in secrets.items() if s in printed.out + printed.err + caplog.text]
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    found += [f"{f}: {name}" for f in files for name, s in secrets.items() if s.encode() in f.read_bytes()]
    assert not found
    names = {re.sub(r"\d+", "N", f.name) for f in files}
    assert {"config.json", "environment.json", "mlflow.json", "a.safetensors", "a.onnx", "page.html"} <= names
    rows = sqlite3.connect(store / "mlflow.db").execute("select key, value from params").fetchall()
    assert any(key == "data.shards" for key, _ in rows)  # what was scanned is what was sent
    assert len(os.listdir(store / "artifacts")) > 0
