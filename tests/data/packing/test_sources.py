import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from srgan_dist.data.packing import div2k
from srgan_dist.data.packing.div2k import Div2kSource
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import CelebaSource, FolderSource
from srgan_dist.imaging import images
from srgan_dist.imaging.resize import downscale
from tests.conftest import ROOT, random_image, write_images
from tests.data.hub import Hub
from tests.data.servers import Server


def names(items) -> list[str]:
    return [i.name for i in items]


def div2k_tree(root: Path, nested: bool = False) -> Path:
    """Three training and one validation image at x2, in DIV2K's own names."""
    for split, numbers in (("train", ("0001", "0002", "0003")), ("valid", ("0801",))):
        outer = f"DIV2K_{split}_LR_bicubic_X2/" if nested else ""
        for n in numbers:
            hr = random_image(96, 120, seed=int(n))
            images.write(hr, root / f"DIV2K_{split}_HR" / f"{n}.png")
            images.write(downscale(hr, 2), root / f"{outer}DIV2K_{split}_LR_bicubic" / "X2" / f"{n}x2.png")
    return root


def test_a_folder_may_have_splits_scales_and_partners(tmp_path: Path):
    write_images(tmp_path / "train" / "HR_x2", 2)
    write_images(tmp_path / "train" / "LR_x2", 2, size=(36, 44))
    write_images(tmp_path / "test", 1)
    source = FolderSource(root=tmp_path)

    train, valid = source.items("train", 2), source.items("valid", 2)

    assert [(i.name, i.lr.parent.name) for i in train if i.lr] == [("000", "LR_x2"), ("001", "LR_x2")]
    assert [(i.name, i.lr) for i in valid] == [("000", None)]


def test_two_files_of_one_name_are_a_problem(tmp_path: Path):
    write_images(tmp_path / "HR", 1)
    write_images(tmp_path / "LR", 1, size=(36, 44))
    (tmp_path / "LR" / "000x2.png").write_bytes((tmp_path / "LR" / "000.png").read_bytes())

    (item,) = FolderSource(root=tmp_path).items("train", 2)

    assert "000x2.png has the same name" in item.problem


def test_subfolders_are_packed_under_their_paths_when_asked(tmp_path: Path):
    write_images(tmp_path / "HR" / "one", 1)
    write_images(tmp_path / "HR" / "two" / "deep", 1, seed=1)
    write_images(tmp_path / "LR" / "one", 1, size=(36, 44))
    write_images(tmp_path / "LR" / "two" / "deep", 1, size=(36, 44), seed=1)
    write_images(tmp_path / "valid", 1, seed=9)
    source = FolderSource(root=tmp_path, recursive=True)

    assert [(i.name, i.problem) for i in source.items("train", 2)] == [("one/000", ""), ("two/deep/000", "")]
    assert names(source.items("valid", 2)) == ["000"]
    assert names(FolderSource(root=tmp_path / "HR", recursive=True).items("train", 2)) == ["one/000", "two/deep/000"]
    with pytest.raises(ValueError, match=r"no images here .* left out: 1 in subfolders"):
        FolderSource(root=tmp_path / "HR" / "two").items("train", 2)


def test_the_folders_of_a_split_are_not_listed_again_below_the_root(tmp_path: Path):
    write_images(tmp_path / "own", 1)
    write_images(tmp_path / "valid", 1, seed=9)

    assert names(FolderSource(root=tmp_path, recursive=True).items("train", 2)) == ["own/000"]


def test_images_beside_the_folders_that_are_used_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_images(tmp_path / "train" / "HR", 2)
    write_images(tmp_path / "train" / "HR_x3", 3)
    write_images(tmp_path / "other", 1)
    images.write(random_image(40, 40), tmp_path / "loose.png")
    caplog.set_level("INFO", "srgan_dist")

    assert len(FolderSource(root=tmp_path).items("train", 2)) == 2

    assert [r.getMessage() for r in caplog.records] == [
        f"{tmp_path}: 2 files left out, because images are taken from train",
        f"{tmp_path / 'train'}: 3 files left out, because images are taken from HR",
    ]


@pytest.mark.parametrize("extension", ["txt", "csv"])
def test_celeba_follows_its_official_split(extension: str, tmp_path: Path):
    write_images(tmp_path / "Img" / "img_align_celeba", 5, size=(48, 40))
    rows = [f"{n:03d}.png {split}" for n, split in enumerate([0, 1, 2, 0])] + ["009.png 0"]
    lines = rows if extension == "txt" else ["image_id,partition", *(r.replace(" ", ",") for r in rows)]
    (tmp_path / f"list_eval_partition.{extension}").write_text("\n".join(lines))
    source = CelebaSource(root=tmp_path)

    assert names(source.items("train", 4)) == ["000", "003", "009"]
    assert names(source.items("valid", 4)) == ["001"]
    assert "listed in list_eval_partition" in source.items("train", 4)[2].problem
    with pytest.raises(ValueError, match="listed in list_eval_partition"):
        pack(source, PackOptions(out=tmp_path / "out"))
    assert pack(source, PackOptions(out=tmp_path / "out", skip_bad=True)).samples("train") == 2


@pytest.mark.parametrize("nested", [False, True])
def test_div2k_is_found_in_either_nesting(nested: bool, tmp_path: Path):
    source = Div2kSource(root=div2k_tree(tmp_path, nested))

    assert names(source.items("train", 2)) == ["0001", "0002", "0003"]
    assert names(source.items("train", 2, limit=2)) == ["0001", "0002"]
    with pytest.raises(ValueError, match="DIV2K_train_LR_bicubic_X4 is missing; download it with --download official"):
        source.items("train", 4)


@pytest.mark.parametrize(
    ("track", "scale", "file", "name"),
    [
        ("mild", 4, "0001x4m", "0001"),
        ("difficult", 4, "0001x4d", "0001"),
        ("x8", 8, "0001x8", "0001"),
        ("wild", 4, "0001x4w3", "0001w3"),
    ],
)
def test_the_other_tracks_of_div2k_have_their_own_names(track, scale: int, file: str, name: str, tmp_path: Path):
    images.write(random_image(96, 96), tmp_path / "DIV2K_train_HR" / "0001.png")
    images.write(downscale(random_image(96, 96), scale), tmp_path / f"DIV2K_train_LR_{track}" / f"{file}.png")

    (item,) = Div2kSource(root=tmp_path, track=track).items("train", scale)

    assert (item.name, item.problem) == (name, "")
    assert item.lr
    with pytest.raises(ValueError, match=f"track {track} is for --scale"):
        Div2kSource(root=tmp_path, track=track).items("train", 3)


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server with official archives of a small DIV2K."""
    root = div2k_tree(tmp_path / "original")
    served = tmp_path / "served"
    served.mkdir()
    for archive, inside in (
        ("DIV2K_train_HR", "DIV2K_train_HR"),
        ("DIV2K_train_LR_bicubic_X2", "DIV2K_train_LR_bicubic"),
    ):
        with zipfile.ZipFile(served / f"{archive}.zip", "w") as z:
            for f in sorted((root / inside).rglob("*.png")):
                z.write(f, f.relative_to(root))
        md5 = hashlib.md5((served / f"{archive}.zip").read_bytes()).hexdigest()
        monkeypatch.setitem(div2k.MD5, archive, md5)
    with Server(served).running() as server:
        monkeypatch.setattr(div2k, "ADDRESS", server.url)
        yield server


def test_official_archives_are_fetched_checked_and_unpacked_once(official: Server, tmp_path: Path):
    official.cut = {"DIV2K_train_HR.zip": 1}
    source = Div2kSource(root=tmp_path / "root", download="official")

    for _ in range(2):
        assert names(source.items("train", 2)) == ["0001", "0002", "0003"]

    assert official.gets == {"DIV2K_train_HR.zip": 2, "DIV2K_train_LR_bicubic_X2.zip": 1}
    assert not list((tmp_path / "root").glob("*.zip"))


def test_a_corrupt_archive_leaves_nothing_that_looks_whole(official: Server, monkeypatch, tmp_path: Path):
    monkeypatch.setitem(div2k.MD5, "DIV2K_train_HR", "0" * 32)

    with pytest.raises(ValueError, match=r"DIV2K_train_HR.zip: corrupt, md5 \w+ is not the official 0000"):
        Div2kSource(root=tmp_path / "root", download="official").items("train", 2)

    assert not list((tmp_path / "root").glob("[!.]*"))


@pytest.mark.slow
def test_the_hub_gives_only_as_many_images_as_asked(tmp_path: Path):
    root = div2k_tree(tmp_path / "original", nested=True)
    files = {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*.png")}
    command = [sys.executable, "-m", "srgan_dist", "pack", "div2k", "--root", str(tmp_path / "root"), "--scale", "2"]
    command += ["--download", "hub", "--limit", "2", "--out", str(tmp_path / "out"), "--split", "train"]

    with Hub(files).running() as hub:
        home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        env = os.environ | home | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == 0, done.stderr
    assert "2 train pairs at x2, raw, LR matlab-mirror" in done.stdout
    assert len(list((tmp_path / "root").rglob("*.png"))) == 4
