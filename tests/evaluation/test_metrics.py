import numpy as np
import pytest
from PIL import Image

from srgan_dist.evaluation.metrics import luma, protocol, psnr, quality, scores, ssim

metrics = pytest.importorskip("skimage.metrics")


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    hr = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize((104, 72)))
    return (hr + rng.normal(0, 9, hr.shape)).clip(0, 255).round().astype(np.uint8), hr


def test_ssim_is_scikit_images_on_the_valid_region(pair: tuple[np.ndarray, np.ndarray]):
    a, b = luma(pair[0]), luma(pair[1])

    _, full = metrics.structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )

    assert ssim(a, b) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


@pytest.mark.slow
def test_psnr_is_scikit_images(pair: tuple[np.ndarray, np.ndarray]):
    a, b = luma(pair[0]), luma(pair[1])

    assert psnr(a, b) == pytest.approx(metrics.peak_signal_noise_ratio(b, a, data_range=255), abs=1e-9)


def test_golden_values_of_a_image_made_by_a_formula():
    """What scikit-image 0.26 says of the luma inside a border of 4, to nine decimals."""
    y, x, c = np.mgrid[0:40, 0:56, 0:3]
    hr = ((y * x + 70 * c) % 200 + 20).astype(np.uint8)
    sr = (hr + (y * 7 + x * 3 + c) % 11 - 5).astype(np.uint8)

    found = scores(sr, hr, border=4)

    golden = {"psnr_y": 41.02815811231853, "ssim_y": 0.9955328979906186, "psnr_rgb": 38.13221755784316}
    assert found == pytest.approx(golden, abs=1e-9)


def test_the_border_does_not_count(pair: tuple[np.ndarray, np.ndarray]):
    sr, hr = pair
    spoilt = sr.copy()
    spoilt[:4], spoilt[-4:], spoilt[:, :4], spoilt[:, -4:] = 0, 0, 0, 0

    assert scores(spoilt, hr, border=4) == scores(sr, hr, border=4)
    assert scores(spoilt, hr, border=3) != scores(sr, hr, border=3)


def test_luma_has_the_range_of_bt601():
    assert luma(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)) == pytest.approx(np.array([[16, 235]]))


def test_equal_images_are_infinitely_good(pair: tuple[np.ndarray, np.ndarray]):
    found = scores(pair[1], pair[1], border=4)

    assert found["psnr_y"] == found["psnr_rgb"] == float("inf")
    assert found["ssim_y"] == pytest.approx(1)


def test_every_number_has_a_protocol_with_its_border():
    assert protocol("psnr_y", 4) == "psnr_y_crop4"
    assert protocol("psnr_rgb", 2) == "psnr_rgb_crop2"
    assert protocol("lpips", 4) == "lpips_pyiqa"


def test_images_that_cannot_be_compared_are_refused(pair: tuple[np.ndarray, np.ndarray]):
    with pytest.raises(ValueError, match="different size"):
        quality(pair[0][:-1], pair[1], 4)
    with pytest.raises(ValueError, match="18x18 is too small"):
        quality(pair[0][:18, :18], pair[1][:18, :18], 4)


def test_the_smallest_image_leaves_eleven_pixels_inside_the_border(pair: tuple[np.ndarray, np.ndarray]):
    smallest = quality(pair[0][:19, :19], pair[1][:19, :19], 4)

    assert 0 < smallest.ssim_y < 1
    with pytest.raises(ValueError, match="19x18 is too small"):
        quality(pair[0][:18, :19], pair[1][:18, :19], 4)
