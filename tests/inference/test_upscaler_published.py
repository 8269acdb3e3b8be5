"""Real-ESRGAN's published weights: tiles, scores and exports. `make test-all` runs them all."""

from pathlib import Path

import numpy as np
import pytest

from srgan_dist.evaluation.evaluate import evaluate
from srgan_dist.imaging import images
from srgan_dist.imaging.listing import list_images
from srgan_dist.inference.fusion import super_resolve
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.export import export_generator
from srgan_dist.models.files import load_generator, weights_digest
from tests.conftest import SHARED

WEIGHTS = SHARED.parent / "weights"
X4PLUS = "RealESRGAN_x4plus.fp16.safetensors"
ANIME_6B = "RealESRGAN_x4plus_anime_6B.fp16.safetensors"
ANIME_VIDEO = "realesr-animevideov3.pth"
NETWORKS = (
    pytest.param(ANIME_VIDEO, 1, marks=pytest.mark.slow),
    pytest.param(ANIME_VIDEO, 14, marks=pytest.mark.extended),
    pytest.param(ANIME_6B, 4, marks=pytest.mark.extended),
    pytest.param(X4PLUS, 2, marks=pytest.mark.extended),
)
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir() or not SHARED.is_dir(), reason="no published weights here")


def smallest(count: int) -> list[images.Pixels]:
    return sorted((images.read(f) for f in list_images(SHARED / "set14" / "LR_x4")), key=np.size)[:count]


@pytest.mark.parametrize(("name", "count"), NETWORKS)
def test_tiles_of_64_of_200_and_the_complete_image_agree_with_plain_pytorch_within_one_level(name: str, count: int):
    model = load_generator(WEIGHTS / name)
    upscalers = [Upscaler(model.network, 4, tile=tile) for tile in (64, 200, 1 << 14)]

    for lr in smallest(count):
        plain = super_resolve(model.network, lr).astype(int)
        assert max(np.abs(upscale(lr) - plain).max() for upscale in upscalers) <= 1


@pytest.mark.extended
@pytest.mark.parametrize(("name", "psnr_y"), [(X4PLUS, 26.63), (ANIME_VIDEO, 28.25)])
def test_the_scores_on_set5_are_those_of_the_published_weights(name: str, psnr_y: float):
    means = evaluate(SHARED / "set5", [WEIGHTS / name], against=()).means()

    assert next(iter(means.values()))["psnr_y"] == pytest.approx(psnr_y, abs=0.01)


@pytest.mark.extended
@pytest.mark.parametrize("name", [X4PLUS, ANIME_6B, ANIME_VIDEO])
def test_an_export_has_the_same_weights(tmp_path: Path, name: str):
    pytest.importorskip("spandrel")
    model = load_generator(WEIGHTS / name)

    exported = export_generator(model, tmp_path / "model.safetensors", "safetensors", "other", WEIGHTS / name)

    assert weights_digest(load_generator(exported.file).network) == weights_digest(model.network)
