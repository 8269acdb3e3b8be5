from pathlib import Path

import numpy as np
import pytest

from srgan_dist.evaluation.evaluate import generator
from srgan_dist.evaluation.evaluation_set import ImagePair
from srgan_dist.evaluation.samples import _row, draw_random_samples
from srgan_dist.imaging.images import Pixels
from srgan_dist.imaging.resize import downscale
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import load_generator, save_generator
from tests.conftest import random_image, write_images


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained generator at x2."""
    config = SRResNetConfig(blocks=1, channels=8, interpolated_skip=True)
    file = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_generator(file, config.build(2), config, {"label": "tiny", "scale": 2, "degradation": "matlab-mirror"})
    return file


def place_of(crop: Pixels, image: Pixels) -> tuple[slice, slice]:
    """Where an image contains a crop."""
    for y, x in np.argwhere((image == crop[0, 0]).all(axis=2)):
        window = slice(y, y + crop.shape[0]), slice(x, x + crop.shape[1])
        if np.array_equal(image[window], crop):
            return window
    raise AssertionError("the image does not contain this crop")


@pytest.mark.parametrize("side", [32, 400])
def test_a_crop_looks_as_in_the_complete_image(model: Path, side: int):
    hr = random_image(240, 300)
    pair = ImagePair("image", downscale(hr, 2), hr)
    upscale = generator(load_generator(model), "cpu")
    complete = upscale(pair.lr)

    for seed in range(5):
        lr, sr, crop = _row(pair, {"tiny": upscale}, 2, side, np.random.default_rng(seed))

        window = place_of(crop.image, hr)
        assert crop.image.shape == (min(side, 240), min(side, 240), 3)
        assert np.array_equal(lr.image[::2, ::2], pair.lr[tuple(slice(s.start // 2, s.stop // 2) for s in window)])
        assert np.abs(sr.image.astype(int) - complete[window]).max() <= 1


def test_every_call_draws_other_crops_and_a_seed_the_same(model: Path, tmp_path: Path):
    images = write_images(tmp_path / "images", 2, (240, 300))

    drawn = [draw_random_samples(images, [model], count=3, side=64, seed=seed).tobytes() for seed in (7, 7, None, None)]

    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
