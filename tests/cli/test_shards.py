import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_dist.cli import app
from srgan_dist.data.packing.hub import card
from srgan_dist.data.shards.manifest_parser import read_manifest
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.imaging import images
from srgan_dist.imaging.resize import downscale
from srgan_dist.utils.files import sha256_of
from tests.conftest import ROOT, random_image
from tests.data.hub import Hub


def foreign_tar(file: Path, samples: int = 3, extension: str = "png", leave_out: str = "") -> Path:
    """As another program would write it: pax headers, folders in the names, a caption among the members."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for n in range(samples):
            hr = random_image(64, 80, seed=n)
            for part, image in (("hr", hr), ("lr", downscale(hr, 2))):
                out = io.BytesIO()
                np.save(out, image) if extension == "npy" else Image.fromarray(image).save(out, "PNG")
                add(tar, f"some/dir/{n:05d}.{part}.{extension}", out.getvalue(), leave_out)
            add(tar, f"some/dir/{n:05d}.txt", b"a caption", leave_out)
    return file


def add(tar: tarfile.TarFile, name: str, content: bytes, leave_out: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.uname = len(content), 1_700_000_000.25, "somebody"
    if not leave_out or leave_out not in name:
        tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("extension", ["png", "npy"])
def test_foreign_tars_can_be_indexed_and_read(extension: str, tmp_path: Path, capsys):
    foreign_tar(tmp_path / "a.tar", extension=extension)
    foreign_tar(tmp_path / "val.tar", samples=1, extension=extension)

    assert app.main(["shards", "index", str(tmp_path)]) == 0

    assert "3 train, 1 valid pairs at x2" in capsys.readouterr().out
    train = ShardSet((str(tmp_path),), "train")
    assert train.keys[2] == "some/dir/00002"
    assert np.array_equal(train.hr(2), random_image(64, 80, seed=2))
    assert app.main(["shards", "verify", str(tmp_path)]) == 0


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "JPEG"])
def test_jpeg_members_are_verified_under_all_their_names(extension: str, tmp_path: Path, capsys):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for part, side in (("hr", 64), ("lr", 32)):
            out = io.BytesIO()
            Image.fromarray(random_image(side, side)).save(out, "JPEG")
            add(tar, f"a.{part}.{extension}", out.getvalue(), "")

    assert app.main(["shards", "index", str(tmp_path)]) == 0
    assert app.main(["shards", "verify", str(tmp_path)]) == 0
    assert "1 shards are intact, 1 train pairs at x2, jpg" in capsys.readouterr().out


@pytest.mark.parametrize("listed", [["a", "a"], ["a", "b"]])
def test_verify_refuses_two_samples_of_one_key(listed: list[str], tmp_path: Path, capsys):
    def write(file: Path, *keys: str) -> None:
        with tarfile.open(file, "w") as tar:
            for seed, key in enumerate(keys):
                for part, side in (("hr", 64), ("lr", 32)):
                    out = io.BytesIO()
                    np.save(out, random_image(side, side, seed=seed))
                    add(tar, f"{key}.{part}.npy", out.getvalue(), "")

    write(tmp_path / "a.tar", "a", "b")
    assert app.main(["shards", "index", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "manifest.json").read_text())
    write(tmp_path / "a.tar", "a", "a")
    content["shards"][0]["sha256"] = hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest()
    content["shards"][0]["samples"]["key"] = listed
    (tmp_path / "manifest.json").write_text(json.dumps(content))

    assert app.main(["shards", "verify", str(tmp_path)]) == 1
    assert "a.tar, sample a: several samples have the key a" in capsys.readouterr().err


def test_verify_reads_every_byte_once_each_time(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path))
    reads: list[str] = []
    monkeypatch.setattr("srgan_dist.data.shards.verify.sha256_of", lambda f: reads.append(f.name) or sha256_of(f))

    for times in (1, 2):
        assert app.main(["shards", "verify", str(shards)]) == 0
        assert sorted(reads) == sorted(["train-000000.tar", "valid-000000.tar"] * times)


def test_a_foreign_sample_without_partner_is_named(tmp_path: Path, capsys):
    foreign_tar(tmp_path / "a.tar", leave_out="00001.lr")

    assert app.main(["shards", "index", str(tmp_path)]) == 1
    assert "a.tar, sample some/dir/00001: no lr.*" in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()


def test_a_foreign_tar_of_another_scale_is_refused(tmp_path: Path, capsys):
    foreign_tar(tmp_path / "a.tar")

    assert app.main(["shards", "index", str(tmp_path), "--scale", "4"]) == 1
    assert "a.tar, sample some/dir/00000: hr 80x64 to lr 40x32" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(129, 128), (128, 129), (130, 130)])
def test_a_foreign_pair_whose_hr_is_a_little_larger_is_refused(size: tuple[int, int], tmp_path: Path, capsys):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for part, (height, width) in (("hr", size), ("lr", (64, 64))):
            out = io.BytesIO()
            Image.fromarray(random_image(height, width)).save(out, "PNG")
            add(tar, f"a.{part}.png", out.getvalue(), "")

    assert app.main(["shards", "index", str(tmp_path)]) == 1
    assert f"a.tar, sample a: hr {size[1]}x{size[0]} to lr 64x64" in capsys.readouterr().err


@pytest.mark.parametrize("second", ["a", "b"])
def test_two_foreign_samples_of_one_key_are_refused(second: str, tmp_path: Path, capsys):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for key in ("a", second, "a"):
            for part, side in (("hr", 64), ("lr", 32)):
                out = io.BytesIO()
                Image.fromarray(random_image(side, side)).save(out, "PNG")
                add(tar, f"{key}.{part}.png", out.getvalue(), "")

    assert app.main(["shards", "index", str(tmp_path)]) == 1
    assert "a.tar, sample a: several samples have this key" in capsys.readouterr().err


def test_verify_says_what_is_there(shards: Path, capsys):
    assert app.main(["shards", "verify", str(shards)]) == 0
    assert "2 shards are intact, 10 train, 2 valid pairs at x2, raw, LR matlab-mirror" in capsys.readouterr().out


def test_show_draws_crops_where_they_are(shards: Path, tmp_path: Path):
    out = tmp_path / "sheet.png"

    assert app.main(["shards", "show", str(shards), "--out", str(out), "--count", "3", "--hr-crop", "32"]) == 0

    sheet = images.read(out)
    hr, difference = sheet[40:300, 310:590].astype(int), sheet[40:300, 900:1180].astype(int)
    assert hr.std() > 20
    assert abs(difference.mean() - 128) < 20  # HR and LR show the same place
    assert (sheet == (230, 30, 30)).all(axis=2).sum() > 300


@pytest.mark.parametrize(("words", "line"), [(["vrify"], "did you mean verify?"), (["show", "nowhere"], "nowhere: no")])
def test_wrong_usage_is_explained(words: list[str], line: str, capsys):
    assert app.main(["shards", *words]) in (1, 2)
    assert line in capsys.readouterr().err


@pytest.mark.slow
def test_push_uploads_shards_and_card_once_and_needs_a_token(shards: Path, tmp_path: Path):
    copied = tmp_path / "shards"
    copied.mkdir()
    for f in shards.iterdir():
        (copied / f.name).write_bytes(f.read_bytes())
    (copied / "notes.txt").write_text("not to be published")
    command = [sys.executable, "-m", "srgan_dist", "shards", "push", str(copied), "--to", "hf://datasets/user/name"]

    with Hub({}).running() as hub:
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        env |= {"PYTHONPATH": str(ROOT), "HF_TOKEN": "hf_wrong"}
        refused = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path, check=False)
        runs = [
            subprocess.run(command, env=env | {"HF_TOKEN": "hf_test"}, capture_output=True, text=True, check=False)
            for _ in range(2)
        ]

    assert refused.returncode == 1
    assert "is HF_TOKEN set, with write access?" in refused.stderr
    assert [r.returncode for r in runs] == [0, 0], runs[0].stderr
    assert hub.created[-1].get("private") is True or hub.created[-1].get("visibility") == "private"
    assert sorted(hub.files) == ["README.md", "manifest.json", "train-000000.tar", "valid-000000.tar"]
    assert hub.files["train-000000.tar"] == (shards / "train-000000.tar").read_bytes()
    assert len(hub.uploads) == 2  # the two tars, once


def test_the_card_says_source_license_kernel_and_counts(shards: Path):
    text = card("user/name", read_manifest(shards), "cc-by-4.0")

    for words in (
        "license: cc-by-4.0",
        "folder images",
        "matlab-mirror",
        "| train | 10 |",
        "hf://datasets/user/name",
    ):
        assert words in text


@pytest.mark.parametrize(("kind", "count"), [("light", 4), ("real", 3)])
def test_show_draws_what_a_degradation_makes(shards: Path, tmp_path: Path, kind: str, count: int):
    out = tmp_path / "sheet.png"
    flags = ("--degradation", kind, "--count", str(count), "--hr-crop", "32")

    assert app.main(["shards", "show", str(shards), "--out", str(out), *flags]) == 0

    sheet = images.read(out)
    assert sheet.shape[0] == 26 + 2 * 312  # two crops per row
    hr, lr = sheet[26:314, 8:296].astype(float), sheet[26:314, 304:592].astype(float)
    means = [cell.reshape(2, 144, 2, 144, 3).mean((1, 3)) for cell in (hr, lr)]
    assert hr.std() > 20
    assert np.abs(means[0] - means[1]).max() < 30  # they show the same place
    assert not np.array_equal(hr, lr)
