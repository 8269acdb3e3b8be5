import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from srgan_dist.imaging import images, opening
from srgan_dist.imaging.photo import read_photo
from tests.conftest import ROOT, random_image

CASES = ROOT.parent / "shared" / "cases"


def test_only_regular_files_are_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "broken.png").symlink_to("gone.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")

    for name, reason in {
        "pipe.png": "not a regular file", "folder.png": "a folder", "empty.png": "an empty file",
        "broken.png": "a broken link, gone.png does not exist", "device.png": "not a regular file",
        "missing.png": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}: .*{reason}"):
            images.read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n <HTML lang='en'>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (bytes(4000), "not an image"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tga"])
def test_other_files_under_an_images_name_are_told_apart(content: bytes, reason: str, suffix: str, tmp_path: Path):
    (tmp_path / f"a{suffix}").write_bytes(content)

    with pytest.raises(ValueError, match=rf"a\{suffix}: .*{reason}"):
        images.read(tmp_path / f"a{suffix}")


def white_png(file: Path, side: int) -> Path:
    """A bilevel PNG that is small, whatever its size."""
    rows = zlib.compressobj()
    data = b"".join(rows.compress(b"\0" + b"\xff" * -(-side // 8)) for _ in range(side)) + rows.flush()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    chunks = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return file


@pytest.mark.slow
def test_the_memory_is_the_limit_and_not_pillows_89_megapixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = white_png(tmp_path / "large.png", 9_500)

    assert read_photo(file).pixels.shape == (9_500, 9_500, 1)
    monkeypatch.setattr(opening, "free_host_bytes", lambda: 1 << 30)
    with pytest.raises(ValueError, match=r"large\.png: 9500x9500 pixels need about 1\.3 GiB .* --max-pixels 90250000"):
        read_photo(file)
    assert read_photo(file, max_pixels=90_250_000).pixels.shape == (9_500, 9_500, 1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2"])
def test_more_than_max_pixels_is_refused_before_decoding(suffix: str, tmp_path: Path):
    file = tmp_path / f"a{suffix}"
    Image.fromarray(random_image(40, 50)).save(file)

    for read in (read_photo, images.read):
        assert read(file, 2000) is not None
        with pytest.raises(ValueError, match="50x40 pixels are more than --max-pixels 1999"):
            read(file, 1999)


def test_pillows_limits_come_back_after_threads_have_read(tmp_path: Path):
    Image.fromarray(random_image(40, 50)).save(tmp_path / "a.png")
    limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    threads = [threading.Thread(target=lambda: [images.read(tmp_path / "a.png") for _ in range(20)]) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert limits == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    assert limits[0] is not None


@pytest.mark.skipif(not CASES.is_dir(), reason="no cases beside the checkout")
def test_the_jfif_that_was_left_out():
    assert images.read(CASES / "photo.jfif").shape == (40, 48, 3)
    assert np.asarray(Image.open(CASES / "photo.jfif")).shape == (40, 48, 3)
