"""Corrupt shards: each is one line that names shard and sample, or is left out when asked."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from srgan_dist.cli import app
from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.feed import ShardFeed, open_data
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.manifest import HR
from srgan_dist.data.shards.manifest_parser import read_manifest
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.data.shards.verify import CorruptSample, faults
from tests.conftest import TINY, Launch


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "shards"))


def flip_a_byte(folder: Path) -> None:
    row = read_manifest(folder).shards[0].table[4]
    with (folder / "train-000000.tar").open("r+b") as tar:
        tar.seek(int(row[HR]) + 3000)
        byte = tar.read(1)
        tar.seek(-1, 1)
        tar.write(bytes([byte[0] ^ 1]))


def flip_a_byte_of_a_header(folder: Path) -> None:
    row = read_manifest(folder).shards[0].table[4]
    with (folder / "train-000000.tar").open("r+b") as tar:
        tar.seek(int(row[HR]) - 512 + 110)
        tar.write(b"\x07")


def truncate(folder: Path) -> None:
    row = read_manifest(folder).shards[0].table[7]
    with (folder / "train-000000.tar").open("r+b") as tar:
        tar.truncate(int(row[HR]) + 100)


def drop_a_member(folder: Path) -> None:
    file = folder / "train-000000.tar"
    with tarfile.open(file) as old, tarfile.open(folder / "new", "w", format=tarfile.USTAR_FORMAT) as new:
        for info in old:
            if info.name != "006.lr.npy":
                new.addfile(info, old.extractfile(info))
    (folder / "new").rename(file)


def remove_the_file(folder: Path) -> None:
    (folder / "train-000000.tar").unlink()


def empty_the_file(folder: Path) -> None:
    (folder / "train-000000.tar").write_bytes(b"")


DAMAGES = [
    (flip_a_byte, r"train-000000.tar, sample 004: corrupt, its CRC-32 differs from the manifest", 1),
    (flip_a_byte_of_a_header, r"train-000000.tar, sample 004: corrupt", 1),
    (truncate, r"train-000000.tar, sample 007: truncated, .*\(and 2 more samples of 10\)", 3),
    (drop_a_member, r"train-000000.tar, sample 006: its lr is missing \(and 3 more", 4),
    (remove_the_file, r"train-000000.tar: listed in the manifest, but missing", 10),
    (empty_the_file, r"train-000000.tar, sample 000: truncated", 10),
]


@pytest.mark.parametrize(("damage", "line", "count"), DAMAGES)
def test_damage_is_one_line_that_names_shard_and_sample(damage: Callable, line: str, count: int, copy: Path, capsys):
    del count
    damage(copy)

    with pytest.raises(ValueError, match=line):
        ShardSet((str(copy),), "train")

    assert app.main(["shards", "verify", str(copy)]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "\n" not in said
    assert np.any([word in said for word in line.split(":")[1].split()[:1]])


@pytest.mark.parametrize(("damage", "line", "count"), DAMAGES[:4])
def test_training_can_skip_what_is_corrupt(damage: Callable, line: str, count: int, copy: Path):
    del line
    damage(copy)
    config = DataConfig(shards=(str(copy),), hr_crop=32, batch=5, on_bad="skip")

    feed, held_out = open_data(config, scale=2, seed=0, rank=0)

    assert isinstance(feed, ShardFeed)
    assert held_out
    assert len(held_out) == 2
    passes = 7
    assert feed.replaced(0, 10 * passes) == count * passes
    assert feed.replaced(13, 29) == feed.replaced(0, 29) - feed.replaced(0, 13)
    batches = feed.batches(5, 0, 5, torch.device("cpu"))
    assert len([next(batches) for _ in range(20)]) == 20
    batches.close()


def test_the_replacement_is_the_same_on_every_process(copy: Path):
    flip_a_byte(copy)
    flip = [CropReader(ShardSet((str(copy),), "train", "skip"), 32, seed=5) for _ in range(2)]
    one, two = flip[0].empty(40, pinned=False), flip[1].empty(20, pinned=False)
    whole = CropReader(ShardSet((str(copy),), "train", "skip"), 32, seed=5).plan

    flip[0].fill(one, 0)
    flip[1].fill(two, 20)

    assert np.array_equal(one.hr[20:], two.hr)
    assert 4 in whole.images(np.arange(40, dtype=np.uint64))


def test_corrupt_held_out_samples_are_left_out(copy: Path):
    file = copy / "valid-000000.tar"
    file.write_bytes(file.read_bytes()[:600] + b"\x00\x01" + file.read_bytes()[602:])

    assert ShardSet((str(copy),), "valid", "skip").keys == ["001"]


def test_damage_behind_the_last_sample_is_damage_too(copy: Path):
    file = copy / "train-000000.tar"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")

    assert faults(file, read_manifest(copy).shards[0]) == [
        CorruptSample(-1, "corrupt after its last sample: sha256 differs from the manifest")
    ]


def test_a_file_is_read_once_and_again_when_it_changes(copy: Path, monkeypatch: pytest.MonkeyPatch):
    reads: list[str] = []
    monkeypatch.setattr("srgan_dist.data.shards.cache.faults", lambda file, shard: reads.append(file.name) or [])

    for _ in range(3):
        ShardSet((str(copy),), "train")
    assert reads == ["train-000000.tar"]

    flip_a_byte(copy)
    ShardSet((str(copy),), "train")
    assert reads == ["train-000000.tar"] * 2


def test_shards_of_another_scale_are_refused_by_name(copy: Path):
    with pytest.raises(ValueError, match=r"scale=4, but .*shards was packed at scale=2"):
        open_data(DataConfig(shards=(str(copy),)), scale=4, seed=0, rank=0)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda d: d.update(format="other/3"), "format 'other/3', but this version reads 'srgan-shards/1'"),
        (lambda d: d.pop("scale"), r"not valid srgan-shards/1 \(scale is missing"),
        (lambda d: d["shards"][0]["samples"]["key"].pop(), "columns of different lengths"),
        (lambda d: d["shards"][0].update(name="../x.tar"), "not a plain file name"),
    ],
)
def test_a_wrong_manifest_is_named(change: Callable, line: str, copy: Path):
    content = json.loads((copy / "manifest.json").read_text())
    change(content)
    (copy / "manifest.json").write_text(json.dumps(content))

    with pytest.raises(ValueError, match=rf"manifest.json: {line}|manifest.json: not valid.*{line}"):
        ShardLocation(str(copy))


def test_verify_compares_the_images_with_the_manifest(copy: Path, capsys):
    content = json.loads((copy / "manifest.json").read_text())
    samples = content["shards"][0]["samples"]
    for part in ("hr", "lr"):
        height, width = f"{part}_height", f"{part}_width"
        samples[height][2], samples[width][2] = samples[width][2], samples[height][2]
    (copy / "manifest.json").write_text(json.dumps(content))

    assert app.main(["shards", "verify", str(copy)]) == 1
    assert "train-000000.tar, sample 002: hr is 88x72, but the manifest says 72x88" in capsys.readouterr().err


def test_an_unfinished_packing_says_so(tmp_path: Path):
    (tmp_path / ".packing-0123").mkdir()

    with pytest.raises(ValueError, match="packing did not finish: run the same command again"):
        ShardLocation(str(tmp_path))


@pytest.mark.slow
def test_a_run_that_skips_counts_the_replaced_crops_in_its_logs(copy: Path, launch: Launch, tmp_path: Path):
    flip_a_byte(copy)
    flags = ("quickstart", *TINY, "--scale=2", f"--data.shards={copy}", "--pretrain.steps=10", "--adversarial.steps=0")
    flags += ("--tracking.enabled=False", f"--run-dir={tmp_path / 'run'}", "--validation.every=100")

    skipped = launch(*flags, "--data.on-bad=skip")

    assert skipped.returncode == 0, skipped.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    counts = {row["step"]: row["data/replaced"] for row in rows if "data/replaced" in row}
    assert counts[10] == 2  # two passes of ten crops, one of each corrupt
    assert all(0 <= counts[s] <= 2 for s in (2, 4, 6, 8))
