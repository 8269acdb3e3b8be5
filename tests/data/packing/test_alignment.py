from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_dist.data.packing.alignment import alignment_problem
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.imaging import images
from srgan_dist.imaging.resize import downscale
from tests.conftest import ROOT, random_image


def photos() -> list[np.ndarray]:
    folder = ROOT.parent / "shared" / "data" / "Set14" / "HR_x4"
    found = [np.asarray(Image.open(f).convert("RGB")) for f in sorted(folder.glob("*.png"))[:4]]
    return [hr[: hr.shape[0] // 24 * 24, : hr.shape[1] // 24 * 24] for hr in found] or [random_image(240, 288)]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_lr_that_takes_every_nth_pixel_is_aligned_whichever_of_the_block_it_takes(scale: int):
    for hr in photos():
        for first in (0, scale // 2, scale - 1):
            assert alignment_problem(hr, hr[first::scale, first::scale], scale) == ""


def test_decimated_lr_that_was_compressed_is_aligned():
    for hr in photos():
        lr = np.asarray(Image.fromarray(hr[::4, ::4])).astype(np.int16)
        noisy = (lr + np.random.default_rng(0).integers(-2, 3, lr.shape)).clip(0, 255).astype(np.uint8)
        assert alignment_problem(hr, noisy, 4) == ""


@pytest.mark.parametrize(("scale", "pixels"), [(2, 2), (4, 3), (4, 8)])
def test_a_shift_is_stated_in_pixels_of_both(scale: int, pixels: int):
    hr = random_image(192 + pixels, 192)

    problem = alignment_problem(hr[:192], downscale(hr[pixels:], scale), scale)

    assert "LR pixels (x, y)" in problem
    stated = float(problem.split(", ")[-1].split()[0])
    assert abs(stated) == pytest.approx(pixels, abs=0.6)


def test_a_shifted_pair_is_packed_only_if_it_is_allowed(tmp_path: Path):
    hr = random_image(200, 192)
    images.write(hr[:192], tmp_path / "in" / "HR" / "a.png")
    images.write(downscale(hr[8:], 2), tmp_path / "in" / "LR" / "a.png")
    source = FolderSource(root=tmp_path / "in")

    with pytest.raises(ValueError, match="--allow-misaligned accepts it"):
        pack(source, PackOptions(out=tmp_path / "out", scale=2))
    assert pack(source, PackOptions(out=tmp_path / "out", scale=2, allow_misaligned=True)).samples("train") == 1
