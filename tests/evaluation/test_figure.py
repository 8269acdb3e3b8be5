import numpy as np

from srgan_dist.evaluation.figure import Cell, cells, draw
from tests.conftest import random_image

SCORES = {"psnr_y": 27.314, "niqe": 5.1, "grid_ratio": 1.25, "ssim_y": 0.8}


def test_a_row_shows_the_framed_image_and_the_same_square_by_every_method():
    hr = np.full((400, 640, 3), 128, np.uint8)
    hr[200:360, 320:480] = random_image(160, 160)
    dark = hr // 2

    framed, method, original = cells("photo", hr, {"one": dark}, {"one": SCORES}, {"niqe": 4.0}, 4)

    assert (framed.title, method.title, original.title) == ("photo", "one", "HR")
    assert np.array_equal(original.image, hr[200:360, 320:480])
    assert np.array_equal(method.image, dark[200:360, 320:480])
    assert framed.image.shape == (200, 320, 3)
    red = (framed.image == (255, 0, 0)).all(axis=2)
    assert (np.flatnonzero(red.any(axis=1))[[0, -1]] == [100, 180]).all()
    assert (np.flatnonzero(red.any(axis=0))[[0, -1]] == [160, 240]).all()


def test_the_caption_has_the_scores_of_fidelity_and_of_naturalness_that_there_are():
    assert Cell("one", np.zeros((4, 4, 3), np.uint8), SCORES).caption == "27.31 dB  NIQE 5.10  grid 1.25"
    assert Cell("HR", np.zeros((4, 4, 3), np.uint8), {"niqe": 4.0}).caption == "NIQE 4.00"


def test_squares_are_drawn_at_twice_their_size_with_the_notes_below():
    image = random_image(160, 160)

    sheet = draw([[Cell("a", image)], [Cell("b" * 200, image), Cell("c", image[:80, :80])]], ["one", "two"])

    assert sheet.shape[1] == 2 * (320 + 8) + 8
    assert np.array_equal(sheet[50 : 50 + 320, 8 : 8 + 320], image.repeat(2, 0).repeat(2, 1))
    second = 50 + 320 + 8 + 42
    assert np.array_equal(sheet[second : second + 320, 336 : 336 + 320], image[:80, :80].repeat(4, 0).repeat(4, 1))
    assert (sheet[second - 42 : second, 8 + 320 : 336] == 255).all()  # a long title ends before the next one
    assert (sheet[second + 320 :] < 255).any()


def test_an_image_smaller_than_the_square_is_shown_completely():
    hr = random_image(48, 72)

    framed, original = cells("small", hr, {}, {}, {}, 2)

    assert original.image.shape == (48, 48, 3)
    assert framed.image.shape == (213, 320, 3)
    assert draw([[framed, original]], []).shape[0] > 320
