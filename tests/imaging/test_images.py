from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_dist.imaging import images
from tests.conftest import image


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "LA", "RGBA", "1", "I;16"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path):
    stored = Image.fromarray(image(20, 30))
    if mode == "I;16":
        stored = Image.fromarray(np.asarray(stored.convert("L")).astype(np.uint16) * 257)
    file = tmp_path / ("image.tif" if mode in ("CMYK", "I;16") else "image.png")
    (stored if mode == "I;16" else stored.convert(mode)).save(file)

    read = images.read(file)

    assert read.shape == (20, 30, 3)
    assert read.dtype == np.uint8
    if mode in ("L", "I;16", "RGBA"):
        gray = np.asarray(Image.fromarray(image(20, 30)).convert("L"))
        assert np.array_equal(read, image(20, 30) if mode == "RGBA" else np.repeat(gray[:, :, None], 3, axis=2))


def test_a_image_is_turned_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to see it upright
    Image.fromarray(image(20, 30)).save(tmp_path / "a.png", exif=exif)

    assert images.read(tmp_path / "a.png").shape == (30, 20, 3)


@pytest.mark.parametrize(("name", "content"), [("a.png", b"not an image"), ("b.png", None), ("c.png", "cut")])
def test_unreadable_files_are_named(name: str, content, tmp_path: Path):
    file = tmp_path / name
    if content == "cut":
        Image.fromarray(image(64, 64)).save(file)
        file.write_bytes(file.read_bytes()[:-2000])
    elif content:
        file.write_bytes(content)

    with pytest.raises(ValueError, match=name):
        images.read(file)


def test_decoding_bytes_is_reading_the_file(tmp_path: Path):
    images.write(image(12, 9), tmp_path / "a.png")

    assert np.array_equal(images.decode((tmp_path / "a.png").read_bytes(), "a"), image(12, 9))


def test_a_failed_write_leaves_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="cannot write"):
        images.write(image(8, 8), tmp_path / "a.txt")

    assert not list(tmp_path.iterdir())
