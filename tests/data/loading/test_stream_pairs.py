"""Pairs in streams: one rule, decided on the first sample; what breaks it is refused, or skipped and counted."""

import io
import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.feed import open_data
from srgan_dist.imaging.resize import downscale
from tests.conftest import random_image


def tar_of(folder: Path, *names: str) -> Path:
    """Write 64x64 HR, and 32x32 LR that no downscaling makes of it, by the words in the names."""
    with tarfile.open(folder / "a.tar", "w") as tar:
        for seed, name in enumerate(names):
            image = random_image(64, 64, seed=seed)
            if any(word in name.lower() for word in ("lr", "lq")):
                image = np.zeros((32, 32, 3), np.uint8)
            out = io.BytesIO()
            Image.fromarray(image).save(out, "PNG")
            content = b"{}" if name.endswith("json") else out.getvalue()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder / "a.tar"


def crops(tar: Path, on_bad: str = "stop") -> tuple[torch.Tensor, torch.Tensor, int]:
    config = DataConfig(stream=(str(tar),), hr_crop=64, batch=4, on_bad=on_bad)  # pyright: ignore
    feed, _ = open_data(config, 2, 0, 0)
    batches = feed.batches(4, 0, 4, torch.device("cpu"))
    found = [next(batches) for _ in range(4)]
    batches.close()
    return torch.cat([b.lr for b in found]), torch.cat([b.hr for b in found]), feed.replaced(0, 0)


PAIRS = [
    ("a_hr.png", "a_lr.png", "b_hr.png", "b_lr.png"),
    ("a_LR.png", "a_HR.png", "b_LR.png", "b_HR.png"),
    ("a-gt.png", "a-lq.png", "b-gt.png", "b-lq.png"),
    ("a.json", "a_hr_x2.png", "a_lr_x2.png", "b.json", "b_hr_x2.png", "b_lr_x2.png"),
    ("a.hr.png", "a.lr.png", "b.lr.png", "b.hr.png"),
    ("a.gt.png", "a.lq.png"),
]


@pytest.mark.parametrize("names", PAIRS, ids=lambda names: names[-1])
def test_lr_files_are_lr_however_the_pair_is_named(names: tuple[str, ...], tmp_path: Path, caplog):
    with caplog.at_level(logging.INFO, "srgan_dist"):
        lr, hr, skipped = crops(tar_of(tmp_path, *names))

    assert lr.max() == 0
    assert all(len(crop.unique()) > 100 for crop in hr)
    assert not skipped
    assert "samples are pairs KEY" in caplog.text


@pytest.mark.parametrize(
    "names", [("a.png", "b.png"), ("a_hr.png", "b_hr.png"), ("HR/a.png", "HR/b.png"), ("a.hr.png",)]
)
def test_hr_without_lr_is_downscaled_and_the_log_says_so(names: tuple[str, ...], tmp_path: Path, caplog):
    with caplog.at_level(logging.INFO, "srgan_dist"):
        lr, _, skipped = crops(tar_of(tmp_path, *names))

    low = {downscale(random_image(64, 64, seed=n), 2).sum() for n in range(len(names))}
    assert {int((crop * 255).round().sum()) for crop in lr} <= {int(total) for total in low}
    assert not skipped
    assert "HR images, from which LR is downscaled" in caplog.text


BROKEN = [
    (("a_hr.png", "a_lr.png", "b_hr.png"), r"sample b_hr: no LR partner is beside it"),
    (("a_hr.png", "a_lr.png", "b_lr.png", "c_hr.png", "c_lr.png"), r"sample b_lr: no HR partner"),
    (("a_hr.png", "a_lr.png", "b.png"), r"sample b: its name ends neither in _hr nor in _lr"),
    (("a.hr.png", "a.lr.png", "b.hr.png"), r"sample b: has no lr\.\*, but the first sample, a, is a pair"),
    (("a.hr.png", "a.lr.png", "b.png"), r"sample b: has no hr\.\* and no lr"),
    (("a.png", "b.hr.png", "b.lr.png"), r"sample b: has lr\.\*, but the first sample, a, has none"),
    (("a_hr.png", "b_hr.png", "a_lr.png", "b_lr.png"), r"sample a_lr: is LR by its name"),
    (("HR/a.png", "HR/b.png", "LR/a.png"), r"sample LR/a: is LR by its name"),
]


@pytest.mark.parametrize(("names", "line"), BROKEN, ids=lambda value: str(value)[:40])
def test_what_breaks_the_rule_is_refused_or_counted(names: tuple[str, ...], line: str, tmp_path: Path):
    tar = tar_of(tmp_path, *names)

    with pytest.raises(ValueError, match=line):
        crops(tar)
    _, hr, skipped = crops(tar, "skip")

    assert skipped
    assert all(len(crop.unique()) > 100 for crop in hr)


@pytest.mark.parametrize("names", [("a.lr.png", "b.hr.png"), ("LR/a.png", "HR/a.png")])
def test_lr_without_hr_at_the_start_is_refused(names: tuple[str, ...], tmp_path: Path):
    with pytest.raises(ValueError, match=r"no hr|LR by its folder"):
        crops(tar_of(tmp_path, *names), "skip")
