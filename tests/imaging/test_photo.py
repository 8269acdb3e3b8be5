import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from srgan_dist.imaging.photo import FORMATS, Photo, check_target, read_photo, write_photo
from srgan_dist.imaging.transparency import upscale_alpha

tifffile = pytest.importorskip("tifffile")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def colors() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.fixture
def deep() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (70, 20, 4), np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_is_read_back_as_written(tmp_path: Path, deep: np.ndarray, channels: int):
    file, image = tmp_path / "deep.png", deep[:, :, :channels]

    with file.open("wb") as out:
        write_photo(image, Photo(image, icc=SRGB), out, "PNG", 95)

    photo = read_photo(file)
    if channels != 2:  # Pillow, which opens the file, has no 16-bit gray with alpha
        assert photo.pixels.dtype == np.uint16
        assert np.array_equal(photo.pixels, image[:, :, : 1 if channels == 1 else 3])
    if channels == 4:
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, image[:, :, 3])
    with Image.open(file) as opened:
        opened.load()
        assert opened.info["icc_profile"] == SRGB


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_tiff_is_read_back_as_written(tmp_path: Path, deep: np.ndarray, channels: int):
    file, image = tmp_path / "deep.tif", deep[:, :, :channels]

    with file.open("wb") as out:
        write_photo(image, Photo(image), out, "TIFF", 95)

    photo = read_photo(file)
    assert photo.pixels.dtype == np.uint16
    assert np.array_equal(photo.pixels, image[:, :, : 1 if channels == 1 else 3])


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_sixteen_bits_become_eight_where_the_format_ends_there(kind: str):
    out = io.BytesIO()
    image = np.full((16, 16, 3), 129 * 257 + 100, np.uint16)

    write_photo(image, Photo(image), out, kind, 100)

    assert np.abs(np.asarray(Image.open(out)).astype(int) - 129).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_image_is_turned_upright(tmp_path: Path, colors: np.ndarray, orientation: int):
    exif, file = Image.Exif(), tmp_path / "turned.png"
    exif[0x0112], exif[0x010F] = orientation, "Camera"
    Image.fromarray(colors).save(file, exif=exif)

    photo = read_photo(file)

    from PIL import ImageOps

    assert np.array_equal(photo.pixels, np.asarray(ImageOps.exif_transpose(Image.open(file))))
    kept = Image.Exif()
    kept.load(photo.exif)
    assert 0x0112 not in kept
    assert kept[0x010F] == "Camera"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_profile_and_exif_are_written(colors: np.ndarray, kind: str):
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x010F] = "Camera"

    write_photo(colors, Photo(colors, icc=SRGB, exif=exif.tobytes()), out, kind, 95)

    written = Image.open(out)
    assert written.info["icc_profile"] == SRGB
    assert written.getexif()[0x010F] == "Camera"


def test_the_layout_of_a_tiff_is_not_taken_for_its_exif(tmp_path: Path, colors: np.ndarray):
    file, out = tmp_path / "a.tif", io.BytesIO()
    Image.fromarray(colors).save(file, compression="tiff_lzw", software="Scanner")
    photo = read_photo(file)

    write_photo(np.zeros((48, 80, 3), np.uint8), photo, out, "TIFF", 95)

    written = Image.open(out)
    assert written.size == (80, 48)
    assert written.getexif()[0x0131] == "Scanner"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "YCbCr", "I;16"])
def test_every_mode_is_gray_or_rgb_with_or_without_alpha(tmp_path: Path, colors: np.ndarray, mode: str):
    file = tmp_path / ("a.tif" if mode == "YCbCr" else "a.png")
    stored = Image.fromarray(colors)
    stored = Image.fromarray(colors[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else stored.convert(mode)
    # Older Pillows cut off uncompressed YCbCr when they write it.
    stored.save(file, compression="jpeg" if mode == "YCbCr" else None)

    photo = read_photo(file)

    assert photo.pixels.shape == (12, 20, 1 if mode in ("1", "L", "LA", "I;16") else 3)
    assert (photo.alpha is not None) == (mode in ("LA", "RGBA"))
    assert photo.pixels.dtype == (np.uint16 if mode == "I;16" else np.uint8)


def test_cmyk_becomes_srgb_and_says_so(tmp_path: Path, colors: np.ndarray):
    Image.fromarray(colors).convert("CMYK").save(tmp_path / "a.jpg")

    photo = read_photo(tmp_path / "a.jpg")

    assert photo.pixels.shape == (12, 20, 3)
    assert "CMYK" in photo.remark
    assert photo.icc is not None
    assert photo.icc[16:20] == b"RGB "


def test_alpha_goes_to_formats_that_have_it_and_onto_white_otherwise(colors: np.ndarray):
    image = np.dstack([colors, np.zeros((12, 20), np.uint8)])
    written: dict[str, Image.Image] = {}

    for kind in ("PNG", "WEBP", "TIFF", "JPEG"):
        out = io.BytesIO()
        write_photo(image, Photo(colors), out, kind, 95)
        written[kind] = Image.open(out)

    assert [written[k].mode for k in written] == ["RGBA", "RGBA", "RGBA", "RGB"]
    assert np.asarray(written["JPEG"]).min() == 255


def test_alpha_is_upscaled_in_either_depth():
    ramp = np.tile(np.arange(0, 250, 10, dtype=np.uint8), (9, 1))

    eight, sixteen = upscale_alpha(ramp, 3), upscale_alpha(ramp.astype(np.uint16) * 257, 3)

    assert eight.shape == (27, 75)
    assert np.abs(sixteen / 257 - eight).max() <= 1


def test_an_animation_is_refused(tmp_path: Path, colors: np.ndarray):
    frames = [Image.fromarray(colors), Image.fromarray(colors[::-1])]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match=f"{name}: has 2 frames"):
            read_photo(tmp_path / name)


def test_a_phones_jpeg_with_a_preview_is_a_image(tmp_path: Path, colors: np.ndarray):
    file = tmp_path / "a.jpg"
    Image.fromarray(colors).save(file, "MPO", save_all=True, append_images=[Image.fromarray(colors[:6, :10])])

    assert read_photo(file).pixels.shape == (12, 20, 3)


def test_what_a_format_cannot_hold_is_refused_before_the_work():
    with pytest.raises(ValueError, match="WEBP supports at most 16383"):
        check_target(Path("a.webp"), 100, 20000)
    with pytest.raises(ValueError, match=r"cannot write \.xyz"):
        check_target(Path("a.xyz"), 1, 1)
    for suffix in FORMATS:
        check_target(Path(f"a{suffix}"), 16000, 12000)
