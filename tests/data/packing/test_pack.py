import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import webdataset
from PIL import Image

from srgan_dist.data.packing import pack as pack_module
from srgan_dist.data.packing.div2k import Div2kSource
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.manifest import HR, LR
from srgan_dist.data.shards.manifest_parser import read_manifest
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.imaging import images
from srgan_dist.imaging.resize import downscale
from tests.conftest import ROOT, random_image, write_images


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


class Threads:
    """Processes that share work, played by threads."""

    def __init__(self, size: int) -> None:
        self.size, self._barrier, self._said = size, threading.Barrier(size), [[] for _ in range(size)]

    def member(self, rank: int) -> SimpleNamespace:
        def gather(mine: list) -> list:
            self._said[rank] = mine
            self._barrier.wait()
            everything = [x for one in self._said for x in one]
            self._barrier.wait()
            return everything

        return SimpleNamespace(rank=rank, size=self.size, gather=gather)


def pairs(folder: Path, count: int = 4, scale: int = 2) -> Path:
    write_images(folder / "HR", count, size=(96, 128))
    (folder / "LR").mkdir()
    for f in (folder / "HR").iterdir():
        images.write(downscale(images.read(f), scale), folder / "LR" / f"{f.stem}x{scale}.png")
    return folder


def packed(root: Path, out: Path, **options) -> Path:
    pack(FolderSource(root=root), PackOptions(out=out, scale=2, **options))
    return out


def test_shards_are_never_written_among_their_images(tmp_path: Path):
    root = write_images(tmp_path / "hr", 2)

    with pytest.raises(ValueError, match=r"--out .* is --root"):
        packed(root, root / ".." / "hr")

    assert len(list(root.iterdir())) == 2


def test_the_path_below_the_root_is_the_name_of_a_sample(tmp_path: Path):
    write_images(tmp_path / "hr" / "a", 1)
    write_images(tmp_path / "hr" / "b", 1, seed=1)
    pack(FolderSource(root=tmp_path / "hr", recursive=True), PackOptions(out=tmp_path / "out", scale=2))

    samples = webdataset.WebDataset(str(tmp_path / "out" / "train-000000.tar"), shardshuffle=False).decode("rgb8")

    assert [(s["__key__"], s["json"]["name"]) for s in samples] == [("a_000", "a/000"), ("b_000", "b/000")]


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp"])
def test_images_with_several_frames_and_too_many_pixels_are_named(suffix: str, tmp_path: Path):
    root = write_images(tmp_path / "hr", 1)
    frames = [Image.fromarray(random_image(72, 88, seed=n)) for n in (1, 2)]
    frames[0].save(root / f"moving.{suffix}", save_all=True, append_images=frames[1:])

    with pytest.raises(ValueError, match=rf"moving\.{suffix}: has 2 frames"):
        packed(root, tmp_path / "out")
    with pytest.raises(ValueError, match=r"000\.png: 88x72 pixels are more than --max-pixels 6000"):
        packed(root, tmp_path / "out", max_pixels=6000)
    assert read_manifest(packed(root, tmp_path / "out", skip_bad=True)).samples("train") == 1


@pytest.mark.parametrize("encoding", ["raw", "png", "webp"])
def test_stock_webdataset_reads_the_shards(encoding, tmp_path: Path):
    root = write_images(tmp_path / "hr", 5)
    out = packed(root, tmp_path / "out", encoding=encoding)

    samples = list(webdataset.WebDataset(str(out / "train-000000.tar"), shardshuffle=False).decode("rgb8"))

    assert [s["__key__"] for s in samples] == [f"{n:03d}" for n in range(5)]
    for n, sample in enumerate(samples):
        extension = "npy" if encoding == "raw" else encoding
        assert np.array_equal(sample[f"hr.{extension}"], random_image(72, 88, seed=n))
        assert np.array_equal(sample[f"lr.{extension}"], downscale(random_image(72, 88, seed=n), 2))
        assert sample["json"] == {"name": f"{n:03d}", "scale": 2, "degradation": "matlab-mirror"}


def test_the_manifest_says_where_the_pixels_are(tmp_path: Path):
    root = write_images(tmp_path / "hr", 3)
    shard = read_manifest(packed(root, tmp_path / "out")).shards[0]
    content = (tmp_path / "out" / shard.name).read_bytes()

    for n, row in enumerate(shard.table.tolist()):
        hr = random_image(72, 88, seed=n)
        assert content[row[HR] : row[HR] + row[HR + 1]].endswith(hr.tobytes())
        assert content[row[LR] : row[LR] + row[LR + 1]].endswith(downscale(hr, 2).tobytes())


@pytest.mark.parametrize("workers", [1, 2])
def test_packing_twice_gives_the_same_bytes(workers: int, tmp_path: Path):
    root = write_images(tmp_path / "hr", 9)

    packed(root, tmp_path / "a", shard_mb=1)
    packed(root, tmp_path / "b", shard_mb=1, workers=workers)

    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path):
    root = write_images(tmp_path / "hr", 24, size=(160, 200))
    packed(root, tmp_path / "one", shard_mb=1)
    options, group = PackOptions(out=tmp_path / "three", scale=2, shard_mb=1), Threads(3)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda rank: pack(FolderSource(root=root), options, group.member(rank)), range(3)))

    assert len(list((tmp_path / "one").glob("*.tar"))) > 3
    assert tree(tmp_path / "one") == tree(tmp_path / "three")


@pytest.mark.slow
def test_killed_packing_goes_on_and_ends_with_the_same_bytes(tmp_path: Path):
    root = write_images(tmp_path / "hr", 40, size=(400, 500))
    packed(root, tmp_path / "whole", shard_mb=1)
    command = [sys.executable, "-m", "srgan_dist", "pack", "folder", "--root", str(root), "--out"]
    command += [str(tmp_path / "killed"), "--scale", "2", "--shard-mb", "1"]

    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    while process.poll() is None and not list((tmp_path / "killed").glob("train-000002.tar")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = tmp_path / "killed" / "train-000000.tar"
    written = first.stat().st_mtime_ns
    assert not (tmp_path / "killed" / "manifest.json").exists()
    packed(root, tmp_path / "killed", shard_mb=1)

    assert tree(tmp_path / "whole") == tree(tmp_path / "killed")
    assert first.stat().st_mtime_ns == written  # it went on, it did not begin again


def test_a_packing_with_other_options_leaves_nothing_of_an_interrupted_one(tmp_path: Path):
    root = write_images(tmp_path / "hr", 3)
    (tmp_path / "out" / ".packing-0123").mkdir(parents=True)
    (tmp_path / "out" / ".packing-0123" / "train-000000.tar.json").write_text("{}")

    packed(root, tmp_path / "out")

    assert sorted(tree(tmp_path / "out")) == ["manifest.json", "train-000000.tar"]


def test_every_problem_is_in_one_report_and_nothing_is_written(tmp_path: Path):
    root = pairs(tmp_path / "pairs", count=8)
    hr, lr = root / "HR", root / "LR"
    (hr / "001.png").write_bytes((hr / "001.png").read_bytes()[:-900])
    images.write(images.read(lr / "002x2.png")[:-1], lr / "002x2.png")
    (lr / "003x2.png").unlink()
    (hr / "004.png").write_bytes((hr / "000.png").read_bytes())
    (lr / "004x2.png").write_bytes((lr / "000x2.png").read_bytes())
    images.write(np.roll(images.read(lr / "005x2.png"), 1, axis=1), lr / "005x2.png")
    images.write(random_image(20, 20), hr / "small.png")
    images.write(random_image(10, 10), lr / "small.png")
    images.write(random_image(20, 20), lr / "lonely.png")

    with pytest.raises(ValueError, match="7 of 10 images failed validation; nothing was written") as caught:
        packed(root, tmp_path / "out")

    assert not (tmp_path / "out").exists()
    said = str(caught.value)
    for words in (
        "001.png: corrupt", "002.png: hr 128x96 is not 2 x lr 64x47", "003.png: no LR partner",
        "004.png: the same image as", "005.png: LR is shifted by +", "small.png: 20x20, smaller than",
        "lonely.png: no HR partner",
    ):  # fmt: skip
        assert words in said

    packed(root, tmp_path / "out", skip_bad=True)
    assert read_manifest(tmp_path / "out").shards[0].keys == ["000", "006", "007"]


def test_a_pair_that_is_scaled_differently_is_found(tmp_path: Path):
    root = tmp_path / "pairs"
    hr = np.asarray(Image.fromarray(random_image(128, 160)).resize((640, 512), Image.Resampling.BICUBIC))
    zoomed = Image.fromarray(hr).resize((320, 256), Image.Resampling.BICUBIC, box=(20, 16, 620, 496))
    images.write(hr, root / "HR" / "a.png")
    images.write(np.asarray(zoomed), root / "LR" / "a.png")

    with pytest.raises(ValueError, match=r"a\.png: LR is scaled differently"):
        packed(root, tmp_path / "out")


@pytest.mark.parametrize("spoil", ["noise", "jpeg", "pillow"])
def test_honest_pairs_of_another_kernel_pass(spoil: str, tmp_path: Path):
    root = pairs(tmp_path / "pairs")
    for f in (root / "LR").iterdir():
        lr, hr = images.read(f), images.read(root / "HR" / f.name.replace("x2", ""))
        if spoil == "noise":
            noise = np.random.default_rng(0).normal(0, 8, lr.shape)
            images.write((lr + noise).clip(0, 255).astype(np.uint8), f)
        elif spoil == "pillow":
            images.write(downscale(hr, 2, "pillow"), f)
        else:
            Image.fromarray(lr).save(f.with_suffix(".jpg"), quality=60)
            f.unlink()

    assert read_manifest(packed(root, tmp_path / "out")).degradation == "given"


def test_the_bicubic_of_given_pairs_is_recognized(tmp_path: Path):
    assert read_manifest(packed(pairs(tmp_path / "pairs"), tmp_path / "out")).degradation == "matlab-mirror"


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "nested"), [(2, True), (3, False), (4, False)])
def test_both_nestings_of_div2k_are_packed(shared: Path, scale: int, nested: bool, tmp_path: Path):
    root = shared / "div2k_mini"
    assert (root / "DIV2K_train_LR_bicubic_X2").is_dir()

    manifest = pack(Div2kSource(root=root), PackOptions(out=tmp_path / "out", scale=scale))

    assert nested == (scale == 2)
    assert (manifest.samples("train"), manifest.samples("valid")) == (4, 2)
    assert manifest.degradation == "matlab-mirror"  # recognized: every value is MATLAB's
    train = ShardSet((str(tmp_path / "out"),), "train")
    assert train.keys == ["0001", "0002", "0003", "0004"]
    assert np.array_equal(train.hr(0), images.read(root / "DIV2K_train_HR" / "0001.png"))
    assert np.array_equal(train.lr(0), downscale(train.hr(0), scale))


def test_tiles_overlap_so_that_every_crop_is_in_one(tmp_path: Path):
    root = tmp_path / "hr"
    images.write(random_image(500, 710), root / "a.png")
    out = packed(root, tmp_path / "out", encoding="png", tile=256)
    tiles = ShardSet((str(out),), "train")

    reachable = np.zeros((500 - 96 + 1, 710 - 96 + 1), bool)
    for i, key in enumerate(tiles.keys):
        y, x = (int(part[1:]) for part in key.split("_")[1:])
        height, width = tiles.hr(i).shape[:2]
        assert np.array_equal(tiles.hr(i), random_image(500, 710)[y : y + height, x : x + width])
        assert y % 2 == x % 2 == 0
        assert max(height, width) <= 256
        reachable[y : y + height - 96 + 1, x : x + width - 96 + 1] = True
    assert reachable.all()
    assert np.array_equal(tiles.lr(0), downscale(random_image(500, 710), 2)[:128, :128])  # LR is made before cutting


def test_splits_can_be_packed_one_after_the_other(tmp_path: Path):
    write_images(tmp_path / "p" / "train", 4)
    write_images(tmp_path / "p" / "val", 2, seed=50)
    packed(tmp_path / "p", tmp_path / "both")

    packed(tmp_path / "p", tmp_path / "apart", split="valid")
    packed(tmp_path / "p", tmp_path / "apart", split="train")

    assert tree(tmp_path / "both") == tree(tmp_path / "apart")


def test_packing_again_leaves_no_shard_of_before(tmp_path: Path):
    packed(write_images(tmp_path / "many", 24, size=(160, 200)), tmp_path / "out", shard_mb=1)

    packed(write_images(tmp_path / "few", 3), tmp_path / "out", shard_mb=1)

    named = {s["name"] for s in json.loads((tmp_path / "out" / "manifest.json").read_text())["shards"]}
    assert {f.name for f in (tmp_path / "out").iterdir()} == named | {"manifest.json"}


@pytest.mark.parametrize("written", [0, 1, 5])
def test_a_repacking_that_is_interrupted_leaves_the_old_shards_complete(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second = write_images(tmp_path / "1", 6), write_images(tmp_path / "2", 6, seed=60)
    before = tree(packed(first, tmp_path / "out", shard_mb=0.02))
    original = pack_module._write_shard

    def stop(planned, plan):
        if planned.name > f"train-{written:06d}":
            raise KeyboardInterrupt
        original(planned, plan)

    monkeypatch.setattr(pack_module, "_write_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        packed(second, tmp_path / "out", shard_mb=0.02)
    interrupted = tree(tmp_path / "out")
    monkeypatch.setattr(pack_module, "_write_shard", original)

    assert {name: interrupted[name] for name in before} == before
    assert len([n for n in interrupted if n.endswith(".tar")]) == 6 + written
    packed(second, tmp_path / "out", shard_mb=0.02)
    names = {s.name for s in read_manifest(tmp_path / "out").shards}
    assert set(tree(tmp_path / "out")) == names | {"manifest.json"}
    assert ShardSet((str(tmp_path / "out"),), "train").hr(0).tolist() == random_image(72, 88, seed=60).tolist()


def test_shards_of_an_abandoned_repacking_are_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    packed(write_images(tmp_path / "1", 2), tmp_path / "out")
    packed(write_images(tmp_path / "2", 2, seed=60), tmp_path / "out")  # named with a hash, beside those before
    monkeypatch.setattr(pack_module._Plan, "publish", lambda *_, **__: sys.exit("killed"))
    with pytest.raises(SystemExit):
        packed(write_images(tmp_path / "3", 2, seed=70), tmp_path / "out")
    monkeypatch.undo()

    packed(write_images(tmp_path / "4", 2, seed=80), tmp_path / "out")

    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_folder_of_other_shards_is_not_overwritten(tmp_path: Path):
    root = write_images(tmp_path / "hr", 3)
    packed(root, tmp_path / "out")

    with pytest.raises(ValueError, match=r"holds shards of scale=2.*pack into another folder"):
        pack(FolderSource(root=root), PackOptions(out=tmp_path / "out", scale=4))


def test_names_that_become_the_same_key_stay_apart_and_do_not_depend_on_other_images(tmp_path: Path):
    for n, name in enumerate(("a.jpg", "a.png", "a_1.png", "a b.png", "a.b.png", "é" * 90 + "1.png")):
        images.write(random_image(40, 48, seed=n), tmp_path / "few" / name)
        images.write(random_image(40, 48, seed=n), tmp_path / "more" / name)
    images.write(random_image(40, 48, seed=9), tmp_path / "more" / ("é" * 90 + "2.png"))

    few, more = (packed(tmp_path / name, tmp_path / f"out-{name}") for name in ("few", "more"))

    keys = [read_manifest(out).shards[0].keys for out in (few, more)]
    assert len(set(keys[0])) == 6
    assert len(set(keys[1])) == 7
    assert len(set(keys[0]) & set(keys[1])) == 5  # the long name had its plain key while it was alone
    samples = webdataset.WebDataset(str(few / "train-000000.tar"), shardshuffle=False)
    assert [s["__key__"] for s in samples] == keys[0]


def test_a_folder_without_valid_folder_holds_some_images_out_and_keeps_them_held_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("srgan_dist"), "propagate", True)
    caplog.set_level(logging.INFO, "srgan_dist")
    root = write_images(tmp_path / "in", 40, size=(32, 32))

    held_out = {k for s in read_manifest(packed(root, tmp_path / "out")).shards if s.split == "valid" for k in s.keys}
    write_images(tmp_path / "new", 20, size=(32, 32), seed=100)
    for file in (tmp_path / "new").iterdir():
        file.rename(root / f"new-{file.name}")
    again = {k for s in read_manifest(packed(root, tmp_path / "out")).shards if s.split == "valid" for k in s.keys}

    assert len(held_out) == 4
    assert again == held_out
    assert f"held out 4 of 40 images for validation: {', '.join(sorted(held_out))}" in caplog.text


@pytest.mark.parametrize(("folders", "options"), [(("train", "valid"), {}), (("",), {"split": "train"})])
def test_nothing_is_held_out_where_the_user_has_split_already(folders: tuple[str, ...], options: dict, tmp_path: Path):
    for n, name in enumerate(folders):
        write_images(tmp_path / "in" / name if name else tmp_path / "in", 40, size=(32, 32), seed=100 * n)

    manifest = read_manifest(packed(tmp_path / "in", tmp_path / "out", **options))

    assert (manifest.samples("train"), manifest.samples("valid")) == (40, 40 if len(folders) > 1 else 0)
    with pytest.raises(ValueError, match="--valid 3"):
        packed(tmp_path / "in", tmp_path / "out", valid=3, **options)
