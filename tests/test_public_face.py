"""What `import srgan_dist` offers."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import srgan_dist
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from tests.conftest import ROOT, random_image, write_images


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", srgan_dist.__version__)
    assert 'attr = "srgan_dist.__version__"' in (ROOT / "pyproject.toml").read_text()


def test_a_generator_is_loaded_upscales_and_is_evaluated(tmp_path: Path):
    config = SRResNetConfig(blocks=1, channels=8)
    torch.manual_seed(0)
    notes = {"label": "tiny", "scale": 2, "degradation": "matlab-mirror"}
    save_generator(tmp_path / "tiny.safetensors", config.build(2).eval(), config, notes)
    folder = write_images(tmp_path / "images", 2)

    generator = srgan_dist.load_generator(tmp_path / "tiny.safetensors")
    sr = srgan_dist.Upscaler(generator.network, generator.scale)(random_image(9, 11))
    means = srgan_dist.evaluate(folder, [tmp_path / "tiny.safetensors"]).means()

    assert (sr.shape, sr.dtype) == ((18, 22, 3), np.uint8)
    assert list(means) == ["nearest", "bilinear", "bicubic", "tiny"]


def test_presets_are_reached_through_the_package():
    assert "srgan-x4" in srgan_dist.presets.PRESETS


def test_every_public_name_is_listed_and_others_are_refused():
    assert {"Upscaler", "evaluate", "load_generator", "presets"} <= set(dir(srgan_dist))
    with pytest.raises(AttributeError, match="no attribute 'upscaler'"):
        _ = srgan_dist.upscaler
