import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.feed import StreamFeed, open_data
from srgan_dist.data.loading.webdataset_stream import decode_pair
from srgan_dist.imaging.resize import downscale
from tests.conftest import random_image

CPU = torch.device("cpu")


def config(folder: Path, **fields) -> DataConfig:
    return DataConfig(stream=(str(folder / "train-{000000..000000}.tar"),), hr_crop=32, batch=4, **fields)


def some_batches(feed, count: int, first: int = 0) -> torch.Tensor:
    batches = feed.batches(4, first, 4, CPU)
    found = torch.cat([next(batches).hr for _ in range(count)])
    batches.close()
    return found


def test_tars_are_streamed_without_a_manifest_and_never_run_dry(shards: Path):
    feed, held_out = open_data(config(shards), scale=2, seed=0, rank=0)

    crops = some_batches(feed, 200)  # of ten images

    assert isinstance(feed, StreamFeed)
    assert held_out is None
    assert crops.shape == (800, 3, 32, 32)
    assert len(crops.flatten(1).unique(dim=0)) > 700


def test_processes_and_resumed_runs_see_other_crops(shards: Path):
    first = some_batches(open_data(config(shards), 2, 0, rank=0)[0], 3)

    other_rank = some_batches(open_data(config(shards), 2, 0, rank=1)[0], 3)
    resumed = some_batches(open_data(config(shards), 2, 0, rank=0)[0], 3, first=400)

    assert not torch.equal(first, other_rank)
    assert not torch.equal(first, resumed)


def test_held_out_images_may_come_from_packed_shards(shards: Path):
    _, held_out = open_data(config(shards, shards=(str(shards),)), 2, 0, 0)

    assert held_out
    assert len(held_out) == 2


def test_a_image_alone_gets_its_lr_from_matlabs_bicubic():
    out = io.BytesIO()
    Image.fromarray(random_image(65, 80)).save(out, "PNG")

    lr, hr = decode_pair({"__key__": "a", "png": out.getvalue()}, scale=4, lr_crop=8)

    assert np.array_equal(hr, random_image(65, 80)[:64])
    assert np.array_equal(lr, downscale(hr, 4))


def spoilt(folder: Path) -> Path:
    file = folder / "train-000000.tar"
    with tarfile.open(file, "w") as tar:
        for n in range(4):
            out = io.BytesIO()
            Image.fromarray(random_image(64, 64, seed=n)).save(out, "PNG")
            content = out.getvalue() if n != 2 else out.getvalue()[:-600]
            info = tarfile.TarInfo(f"{n}.png")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder


def test_a_bad_sample_stops_and_is_named_or_is_left_out_and_counted(tmp_path: Path):
    feed, _ = open_data(config(spoilt(tmp_path)), 2, 0, 0)
    with pytest.raises(ValueError, match=r"train-000000.tar, sample 2: corrupt or truncated"):
        some_batches(feed, 1)

    feed, _ = open_data(config(tmp_path, on_bad="skip"), 2, 0, 0)
    some_batches(feed, 5)
    assert feed.replaced(0, 0) > 5


def test_missing_tars_are_named(tmp_path: Path):
    feed, _ = open_data(config(tmp_path), 2, 0, 0)

    with pytest.raises(ValueError, match=r"data.stream: .*train-000000.tar"):
        some_batches(feed, 1)


def test_a_sample_of_another_scale_is_named(shards: Path):
    feed, _ = open_data(config(shards), 4, 0, 0)

    with pytest.raises(ValueError, match=r"train-000000.tar, sample 000: hr 88x72 is not 4 x lr 44x36"):
        some_batches(feed, 1)


def by_class(folder: Path, tars: int, each: int) -> DataConfig:
    """Tars in which all images are of one brightness, that of the tar."""
    for n in range(tars):
        with tarfile.open(folder / f"{n}.tar", "w") as tar:
            for key in range(each):
                out = io.BytesIO()
                Image.fromarray(np.full((32, 32, 3), 10 * n + 10, np.uint8)).save(out, "PNG")
                info = tarfile.TarInfo(f"{key:04d}.png")
                info.size = len(out.getvalue())
                tar.addfile(info, io.BytesIO(out.getvalue()))
    return DataConfig(stream=(f"{folder}/{{0..{tars - 1}}}.tar",), hr_crop=32, batch=16)


def test_a_batch_mixes_tars_and_the_log_says_how_many(tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("srgan_dist.data.loading.webdataset_stream._MOST_CROPS", 1024)
    config = by_class(tmp_path, 4, 100)
    with caplog.at_level("INFO", "srgan_dist"):
        batches = open_data(config, 2, 0, 0)[0].batches(16, 0, 16, CPU)
        classes = [len(next(batches).hr.amax((1, 2, 3)).unique()) for _ in range(80)]
        batches.close()

    assert min(classes) >= 2
    assert "drawn from 1024 crops of" in caplog.text
    assert "samples of 4 tars" in caplog.text


def test_decoding_threads_do_not_change_the_crops(shards: Path):
    one, four = (some_batches(open_data(config(shards, threads=n), 2, 0, 0)[0], 20) for n in (1, 4))

    assert torch.equal(one, four)
