"""Attacks through model files, run directories and configurations of other people."""

import json
import os
import pickle
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srgan_dist.cli import app
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import load_generator, save_generator
from srgan_dist.runs import checkpoint
from srgan_dist.runs.environment import sessions
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.tracking.delivery import Delivery
from srgan_dist.tracking.outbox import Outbox
from srgan_dist.training.config import TrainConfig, dump, read_config
from srgan_dist.utils.untrusted import path_below

NOTES = {"label": "tiny", "scale": 2, "degradation": "matlab-mirror"}


def model_file(file: Path, **header: object) -> Path:
    """A safetensors file of 35 kB at most whose header says anything."""
    network = SRResNetConfig(blocks=1, channels=4).build(2)
    about = {"generator": {"type": "srresnet", "blocks": 1, "channels": 4}} | NOTES | header
    save_file(network.state_dict(), file, {"srgan_dist": json.dumps(about), "format": "pt"})
    assert file.stat().st_size < 35_000
    return file


SIZES = [
    {"type": "srresnet", "blocks": 100_000, "channels": 4},
    {"type": "srresnet", "blocks": 1, "channels": 20_000},
    {"type": "srresnet", "blocks": 100_000, "channels": 0},
    {"type": "srresnet", "blocks": 1, "channels": -4},
    {"type": "srresnet", "blocks": 10**30, "channels": 10**30},
    {"type": "rrdbnet", "blocks": 100_000},
    {"type": "rrdbnet", "blocks": 2, "channels": 10_000, "growth_channels": 10_000},
    {"type": "compact", "convs": 1_000_000, "channels": 1},
    pytest.param({"type": "spandrel", "file": "/dev/zero"}, marks=pytest.mark.extended),
    {"type": "srresnet", "blocks": "many"},
    {"type": "nothing"},
    {"type": {}},
    {},
    [],
    None,
]


@pytest.mark.parametrize("generator", SIZES, ids=str)
def test_a_header_cannot_ask_for_more_than_its_file_contains(generator: object, tmp_path: Path):
    file, started = model_file(tmp_path / "a.safetensors", generator=generator), time.monotonic()

    with pytest.raises(ValueError, match=r"a.safetensors|exported weights") as error:
        load_generator(file)

    assert "\n" not in str(error.value).split("(", 1)[0]
    assert time.monotonic() - started < 20


HEADERS = [{"scale": 10**9}, {"scale": 0}, {"scale": "2"}, {"scale": 2.5}, {"scale": True}, {"label": 5},
           {"label": "l" * 10**4}, {"degradation": None}]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=lambda h: str(h)[:30])
def test_a_header_with_a_wrong_value_is_named(header: dict, tmp_path: Path):
    with pytest.raises(ValueError, match=r"a.safetensors: its header"):
        load_generator(model_file(tmp_path / "a.safetensors", **header))


@pytest.mark.parametrize("header", ["{", "[]", "7", "[" * 20_000, '{"generator": NaN}', ""])
def test_a_header_that_is_not_json_is_named(header: str, tmp_path: Path):
    network = SRResNetConfig(blocks=1, channels=4).build(2)
    save_file(network.state_dict(), tmp_path / "a.safetensors", {"srgan_dist": header})

    if header:
        with pytest.raises(ValueError, match=r"a.safetensors: its header is corrupt"):
            load_generator(tmp_path / "a.safetensors")
    else:
        assert load_generator(tmp_path / "a.safetensors").scale == 2  # as a file of another program


def test_a_tensor_that_is_only_claimed_to_be_large_is_refused(tmp_path: Path):
    """A million by a million values, stored as one."""
    state = {
        "head.0.weight": torch.zeros(1).expand(1 << 20, 3, 9, 9),
        "merge.0.weight": torch.zeros(1),
        "tail.weight": torch.zeros(1),
    }
    torch.save(state, tmp_path / "a.pth")

    with pytest.raises(ValueError, match=r"a.pth: 'head.0.weight' of shape .* is not stored in full"):
        load_generator(tmp_path / "a.pth")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, bytes(40 << 20) if "/data/" in entry.filename else old.read(entry))

    with pytest.raises(ValueError, match=r"b.pth: not a file of weights \(its content of \d+ bytes is compressed"):
        load_generator(tmp_path / "b.pth")


def test_block_numbers_with_gaps_do_not_make_blocks(tmp_path: Path):
    state = {"conv_first.weight": torch.zeros(4, 3, 3, 3), "body.0.rdb1.conv1.weight": torch.zeros(4, 4, 3, 3),
             "body.99999999.rdb1.conv1.weight": torch.zeros(4, 4, 3, 3)}  # fmt: skip
    torch.save(state, tmp_path / "a.pth")
    started = time.monotonic()

    with pytest.raises(ValueError, match=r"a.pth: "):
        load_generator(tmp_path / "a.pth")

    assert time.monotonic() - started < 20


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("ran",))


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": Evil()}))
    torch.save({"a": Evil()}, tmp_path / "b.pth")

    for name in ("a.pth", "b.pth"):
        with pytest.raises(ValueError, match="not a file of weights"):
            load_generator(tmp_path / name)
    assert not (tmp_path / "ran").exists()


# Paths that come from files

NAMES = [
    "../a",
    "/etc/passwd",
    "a/../../b",
    "a//b",
    "",
    ".",
    "..",
    "a\\b",
    "c:a",
    "a\0b",
    "a\nb",
    None,
    7,
    ["a"],
    "a" * 300,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda n: str(n)[:12])
def test_a_path_from_a_file_stays_in_its_folder(name: object, tmp_path: Path):
    with pytest.raises(ValueError, match="is not the name of a file in this folder"):
        path_below(tmp_path, name)


def test_a_link_to_the_outside_is_not_followed(tmp_path: Path):
    (tmp_path / "secret").write_text("key")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "secret")

    with pytest.raises(ValueError, match="leads outside"):
        path_below(tmp_path / "run", "link")
    assert path_below(tmp_path / "run", "link", follow_links=True).read_text() == "key"
    assert path_below(tmp_path / "run", "a/b.txt") == tmp_path / "run" / "a" / "b.txt"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "link"])
def test_sync_uploads_no_file_outside_of_the_run(name: str, tmp_path: Path):
    """An outbox may be somebody else's: it would upload any file of the disk."""
    run, uploaded = tmp_path / "run", []
    outbox = run / "tracking" / "outbox"
    outbox.mkdir(parents=True)
    (tmp_path / "secret").write_text("key")
    (run / "link").symlink_to(tmp_path / "secret")
    name = str(tmp_path / "secret") if name.startswith("/") else name
    (outbox / "00000001.json").write_text(json.dumps({"kind": "artifact", "file": name, "folder": None}))

    class Client:
        def log_artifact(self, *args: object) -> None:
            uploaded.append(args)

    class State:
        class now:  # noqa: N801
            run_id = "1"

    delivery = Delivery(Client(), run, State())  # type: ignore[arg-type]
    for item in Outbox(outbox, 1 << 20).items():
        with pytest.raises(ValueError, match=r"leads outside|is not the name of a file"):
            delivery.item(item, False)
    (outbox / "00000002.json").write_text(json.dumps({"kind": "model", "file": name, "label": "a"}))
    with pytest.raises(ValueError, match=r"leads outside|is not the name of a file"):
        delivery.item(Outbox(outbox, 1 << 20).items()[-1], False)
    assert not uploaded


@pytest.mark.parametrize("content", ["{", "[]", "5", '{"kind": 7}', "[" * 50_000])
def test_an_outbox_item_that_is_none_is_dropped(content: str, tmp_path: Path, caplog):
    (tmp_path / "00000001.json").write_text(content)
    (tmp_path / "00000002.json").write_text('{"kind": "tags", "values": {}}')

    assert [item.kind for item in Outbox(tmp_path, 1 << 20).items()] == ["tags"]
    assert "not an item for MLflow" in caplog.text


@pytest.mark.parametrize("label", ["../../x", "/etc/x", "a/b", "a\nb", "l" * 300])
def test_a_label_cannot_write_outside_of_the_run(label: str):
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        RunDir.model_name(label)


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "", "step\n1"])
def test_a_checkpoint_reference_stays_in_its_folder(name: str, tmp_path: Path):
    (tmp_path / "last").write_text(name)

    with pytest.raises(ValueError, match="is not the name of a file in this folder"):
        checkpoint.resolve(tmp_path / "last")


def test_a_checkpoint_lists_only_its_own_files(tmp_path: Path):
    (tmp_path / "COMPLETE.json").write_text(json.dumps({"sha256": {"/etc/passwd": "0" * 64}}))

    with pytest.raises(ValueError, match=r"is corrupt .*is not the name of a file"):
        checkpoint.load(tmp_path)


# Configurations

CONFIGS = {
    "billion laughs": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]" for b, c in zip("abcdefghi", "bcdefghij", strict=True)),
    "recursive": "data: &a {shards: [*a]}",
    "deep": "[" * 2000,
    "deep mapping": "{a: " * 2000,
    "long": "a: " + "x" * 300_000,
    "number as key": "1: 2\nb: 3",
    "date": "seed: 2001-02-03",
    "no date": "seed: 2001-99-99",
    "code": "seed: !!python/object/apply:os.mkdir [ran]",
    "binary": "seed: !!binary aGVsbG8=",
    "set": "data: !!set {a, b}",
    "not utf-8": b"\xff\xfe\xfa",
    "list": "[1, 2]",
    "empty": "",
    "text": "hello",
    "infinite": "ema_decay: .nan\nsteps: .inf",
    "huge number": "seed: " + "9" * 10_000,
    "null": "generator: null\nscale: null",
    "tab": "a:\t- b",
}


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_that_is_none_is_one_error(content: str | bytes, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file, started = tmp_path / "c.yaml", time.monotonic()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ValueError, match=r"--config .*c.yaml(, line \d)?: ") as error:
        read_config(file)

    assert len(str(error.value)) < 1000
    assert time.monotonic() - started < 20
    assert not (tmp_path / "ran").exists()


# Repro


def run_of(folder: Path, **facts: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(dump(TrainConfig()))
    (folder / "environment.json").write_text(json.dumps({"sessions": [facts]}))
    return folder


def test_repro_quotes_what_it_prints_and_asks_before_it_runs(tmp_path: Path, monkeypatch, capsys):
    run = run_of(tmp_path / "a b; touch ran", command="x\n\x1b[2Jerror: fake", git={"commit": "0" * 40, "dirty": True},
                 patch="p q.patch")  # fmt: skip
    started: list[object] = []
    monkeypatch.setattr("srgan_dist.cli.repro.repeat", started.append)

    assert app.main(["repro", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"git apply '{run}/p q.patch'" in said
    assert f"--config '{run}/config.json'" in said
    assert "\x1b" not in said
    assert not any(line.startswith("error:") for line in said.splitlines())

    assert app.main(["repro", str(run), "--run"]) == 2  # nobody can be asked
    assert "add --yes to run it" in capsys.readouterr().err
    assert not started


FACTS = [{"git": {"commit": "HEAD; rm -rf ~"}}, {"patch": "../../x.patch"}, {"world_size": "1; ls"},
         {"world_size": 10**9}, {"precision": "$(ls)"}, {"git": 5}, {"versions": []}]  # fmt: skip


@pytest.mark.parametrize("facts", FACTS, ids=str)
def test_an_environment_record_with_other_things_than_facts_is_refused(facts: dict, tmp_path: Path):
    with pytest.raises(ValueError, match=r"environment.json: corrupt"):
        sessions(run_of(tmp_path / "run", **facts))


def test_a_valid_model_still_opens(tmp_path: Path):
    config = SRResNetConfig(blocks=2, channels=8)
    save_generator(tmp_path / "a.safetensors", config.build(4), config, NOTES | {"scale": 4})

    assert load_generator(tmp_path / "a.safetensors").config == config
    assert np.isfinite(load_generator(tmp_path / "a.safetensors").network(torch.zeros(1, 3, 8, 8)).numpy()).all()
