import io

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.data.degradations import jpeg as module
from srgan_dist.data.degradations.jpeg import jpeg, quantization_tables


def make_image(seed, side):
    """Smooth color, edges and noise, so that every kind of block is there."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    smooth = np.stack([128 + 100 * np.sin(x / (5 + c) + y / (9 - c)) for c in range(3)], -1)
    edges = 255.0 * (((x // 11) + (y // 7)) % 2)[..., None]
    mixed = np.where((x > side // 2)[..., None], smooth, 0.5 * smooth + 0.5 * edges) + rng.normal(
        0, 12, (side, side, 3)
    )
    return mixed.clip(0, 255).astype(np.uint8)


def through_pillow(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("side", [96, 100, 97, 46, 33])  # whole MCUs, and every kind of remainder
def test_every_value_equals_pillows_at_every_size_and_quality_of_a_mixed_batch(side):
    quality = [1, 30, 50, 77, 95, 100]
    images = [make_image(seed, side) for seed in range(len(quality))]
    canvas = -(-side // 16) * 16
    padded = [np.pad(i, ((0, canvas - side), (0, canvas - side), (0, 0)), mode="edge") for i in images]
    batch = torch.from_numpy(np.stack(padded)).permute(0, 3, 1, 2).float() / 255

    out = jpeg(batch, torch.full((len(quality),), side), quantization_tables(torch.tensor(quality)))

    got = (out[:, :, :side, :side] * 255).round().permute(0, 2, 3, 1).numpy().astype(int)
    real = np.stack([through_pillow(i, q) for i, q in zip(images, quality, strict=True)]).astype(int)
    assert np.abs(got - real).max() == 0


@pytest.fixture
def without_float64(monkeypatch):
    """This device has no float64, as Apple's GPUs."""
    module._constants.cache_clear()
    monkeypatch.setattr(module, "_WITHOUT_FLOAT64", ("cpu",))
    yield
    module._constants.cache_clear()


@pytest.mark.parametrize("content", ["image", "black and white noise"])
def test_float32_gives_the_same_values_at_every_quality(content, request):
    rng = np.random.default_rng(0)
    quality = torch.arange(1, 101)
    image = make_image(1, 48) if content == "image" else rng.choice(np.uint8([0, 255]), (48, 48, 3))
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).expand(100, -1, -1, -1)
    size = torch.full((100,), 48)
    expected = jpeg(batch, size, quantization_tables(quality))

    request.getfixturevalue("without_float64")
    tables = quantization_tables(quality)
    found = jpeg(batch, size, tables)

    assert tables.dtype == torch.float32
    assert torch.equal(found, expected)
