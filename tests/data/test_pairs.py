from pathlib import Path

import numpy as np
import pytest

from srgan_dist.cli.app import main
from srgan_dist.data.pairs import load_pair, match_pair
from srgan_dist.imaging import images
from srgan_dist.imaging.resize import downscale
from tests.conftest import random_image


def test_a_pair_whose_hr_is_exactly_scale_times_lr_comes_back_as_it_is():
    hr, lr = random_image(96, 72), random_image(48, 36)

    got_hr, got_lr = match_pair(hr, lr, 2, "a.png")

    assert np.array_equal(got_hr, hr)
    assert np.array_equal(got_lr, lr)


@pytest.mark.parametrize(
    ("hr", "lr", "hint"),
    [
        ((97, 97), (48, 48), "--crop-hr"),
        ((96, 96), (32, 32), "this pair is at scale 3: pass --scale 3"),
        ((96, 98), (48, 48), "$"),
    ],
)
def test_another_size_is_refused_with_both_sizes_and_the_way_out(hr: tuple[int, int], lr: tuple[int, int], hint: str):
    with pytest.raises(ValueError, match=rf"a.png: hr {hr[1]}x{hr[0]} is not 2 x lr {lr[1]}x{lr[0]}.*{hint}"):
        match_pair(random_image(*hr), random_image(*lr), 2, "a.png")


def test_a_few_pixels_too_many_are_cut_off_on_request():
    hr, lr = random_image(97, 99), random_image(24, 24)

    cropped, _ = match_pair(hr, lr, 4, "a.png", crop_hr=True)

    assert np.array_equal(cropped, hr[:96, :96])
    with pytest.raises(ValueError, match="hr 96x100"):
        match_pair(random_image(100, 96), lr, 4, "a.png", crop_hr=True)


def test_without_an_lr_file_lr_is_made_of_the_part_that_divides(tmp_path: Path):
    hr = random_image(97, 99)
    images.write(hr, tmp_path / "a.png")

    got_hr, got_lr = load_pair(tmp_path / "a.png", None, 4)

    assert np.array_equal(got_hr, hr[:96, :96])
    assert np.array_equal(got_lr, downscale(got_hr, 4))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / "odd"
    hr = random_image(97, 97)
    images.write(hr, folder / "HR" / "a.png")
    images.write(downscale(hr[:96, :96], 2), folder / "LR" / "a.png")
    return folder


COMMANDS = {
    "pack": ("pack", "folder", "--root", "odd", "--scale", "2", "--out", "packed"),
    "evaluate": ("evaluate", "--data", "odd", "--scale", "2"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_same_rule_and_the_same_way_out(
    name: str, odd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(odd.parent)

    assert main([*COMMANDS[name]]) == 1
    assert "hr 97x97 is not 2 x lr 48x48" in capsys.readouterr().err

    assert main([*COMMANDS[name], "--crop-hr"]) == 0


def test_images_without_a_partner_are_not_evaluated(odd: Path, capsys: pytest.CaptureFixture[str]):
    images.write(random_image(48, 48), odd / "LR" / "b.png")

    assert main(["evaluate", "--data", str(odd), "--scale", "2", "--crop-hr"]) == 1
    assert "b.png: no HR partner" in capsys.readouterr().err
