"""What the matrix does not hold: odd layouts, and files that are refused by name."""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from srgan_dist.imaging import images
from srgan_dist.imaging.photo import read_photo
from tests.conftest import ROOT
from tests.imaging.image_matrix import INDEX, PALETTE, RGBA8, RGBA16

CASES = ROOT.parent / "shared" / "cases"
GRAY16, RGB16 = RGBA16[:, :, 0], np.ascontiguousarray(RGBA16[:, :, :3])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(file: Path, size: tuple[int, int], bits: int, color: int, rows: bytes, extra: bytes = b"") -> Path:
    header = struct.pack(">IIBBBBB", *size, bits, color, 0, 0, 0)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return file


@pytest.mark.parametrize(
    ("bits", "color", "row", "key", "pixels", "alpha"),
    [
        (1, 0, bytes([0b00011011]), (1,), [0, 0, 0, 255, 255, 0, 255, 255], [1, 1, 1, 0, 0, 1, 0, 0]),
        (2, 0, bytes([0b00011011]), (1,), [0, 85, 170, 255], [1, 0, 1, 1]),
        (4, 0, bytes([0x3F]), (15,), [51, 255], [1, 0]),
        (8, 0, bytes([7, 8]), (7,), [7, 8], [0, 1]),
        (16, 0, struct.pack(">2H", 300, 301), (300,), [300, 301], [0, 1]),
        (8, 2, bytes([1, 2, 3, 4, 5, 6]), (1, 2, 3), [1, 2, 3, 4, 5, 6], [0, 1]),
        (16, 2, struct.pack(">6H", 300, 2, 3, 300, 2, 4), (300, 2, 3), [300, 2, 3, 300, 2, 4], [0, 1]),
    ],
)
def test_the_transparent_color_of_a_png_is_found_at_every_depth(bits, color, row, key, pixels, alpha, tmp_path: Path):
    file = png(
        tmp_path / "a.png",
        (len(alpha), 1),
        bits,
        color,
        b"\0" + row,
        chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)),
    )

    photo = read_photo(file)

    assert photo.pixels.ravel().tolist() == pixels
    assert photo.alpha is not None
    assert (photo.alpha[0] // (65535 if bits == 16 else 255)).tolist() == alpha


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", ["white is zero", "float", "float, white is zero"])
def test_gray_tiffs_are_read_by_their_type_in_either_byte_order(byteorder, kind: str, tmp_path: Path):
    values = GRAY16 if kind == "white is zero" else (GRAY16 / 65535).astype(np.float32)
    stored = values if "white" not in kind else (65535 if values.dtype == np.uint16 else 1) - values
    photometric = "miniswhite" if "white" in kind else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, byteorder=byteorder)

    assert np.abs(read_photo(tmp_path / "a.tif").pixels[:, :, 0].astype(int) - GRAY16).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("colors", [1, 3])
def test_odd_depths_are_scaled_by_their_bits(bits: int, colors: int, tmp_path: Path):
    stored = (RGB16 if colors == 3 else GRAY16) >> (16 - bits)
    try:
        photometric = "rgb" if colors == 3 else "minisblack"
        tifffile.imwrite(tmp_path / "a.tif", stored, bitspersample=bits, photometric=photometric)
    except NotImplementedError:
        pytest.skip("imagecodecs before 2026 reads these depths, but does not write them")

    expected = np.round(stored / (2**bits - 1) * 65535)
    assert np.array_equal(read_photo(tmp_path / "a.tif").pixels.squeeze(), expected)


@pytest.mark.parametrize("bits", [1, 4])
def test_palettes_with_fewer_than_eight_bits(bits: int, tmp_path: Path):
    indexed = Image.fromarray(INDEX % 2**bits, "P")
    indexed.putpalette(PALETTE.tobytes())
    indexed.save(tmp_path / "a.png", bits=bits)

    assert np.array_equal(read_photo(tmp_path / "a.png").pixels, PALETTE[INDEX % 2**bits])


def test_dark_images_stay_dark(tmp_path: Path):
    dark = GRAY16 >> 9
    Image.fromarray(dark).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", dark, photometric="minisblack")
    tifffile.imwrite(tmp_path / "f.tif", (dark / 65535).astype(np.float32), photometric="minisblack")

    for name in ("a.png", "a.tif", "f.tif"):
        assert np.array_equal(read_photo(tmp_path / name).pixels[:, :, 0], dark)
        assert images.read(tmp_path / name).max() == 0


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_colors_that_were_multiplied_by_alpha_are_divided_again(depth: int, planes: str, tmp_path: Path):
    rgba, peak = (RGBA8, 255) if depth == 8 else (RGBA16, 65535)
    alpha = rgba[:, :, 3:]
    stored = np.dstack([(rgba[:, :, :3] * (alpha / peak)).round().astype(rgba.dtype), alpha])
    stored = stored if planes == "contig" else np.ascontiguousarray(np.moveaxis(stored, 2, 0))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planes, extrasamples=["assocalpha"])

    photo = read_photo(tmp_path / "a.tif")

    visible = rgba[:, :, 3] > peak // 2
    assert np.abs(photo.pixels[visible].astype(int) - rgba[:, :, :3][visible]).max() <= 1
    assert np.array_equal(photo.alpha, rgba[:, :, 3])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colors", [1, 3])
def test_tiffs_are_turned_upright(orientation: int, dtype: type, colors: int, tmp_path: Path):
    stored = RGB16.astype(dtype) if colors == 3 else GRAY16.astype(dtype)
    tag = (274, 3, 1, orientation, True)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb" if colors == 3 else "minisblack", extratags=[tag])

    upright = read_photo(tmp_path / "a.tif").pixels.squeeze()

    transposed = stored.swapaxes(0, 1) if orientation > 4 else stored
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    assert np.array_equal(upright, transposed[::rows, ::columns])


def test_a_preview_in_a_tiff_is_not_the_image(tmp_path: Path):
    preview, rgb = RGBA8[::4, ::4, :3], RGBA8[:, :, :3]
    with tifffile.TiffWriter(tmp_path / "last.tif") as tiff:
        tiff.write(rgb, photometric="rgb")
        tiff.write(preview, photometric="rgb", subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "first.tif") as tiff:
        tiff.write(preview, photometric="rgb", subfiletype=1)
        tiff.write(rgb, photometric="rgb")
    with tifffile.TiffWriter(tmp_path / "raw.tif") as tiff:
        tiff.write(preview, photometric="rgb", subfiletype=1, subifds=1)
        tiff.write(rgb, photometric="rgb")

    assert np.array_equal(read_photo(tmp_path / "last.tif").pixels, rgb)
    assert np.array_equal(read_photo(tmp_path / "first.tif").pixels, rgb)
    with pytest.raises(ValueError, match="behind a preview"):
        read_photo(tmp_path / "raw.tif")


NAN = np.where(np.arange(GRAY16.size).reshape(GRAY16.shape) == 7, np.nan, 0.5).astype(np.float32)


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (GRAY16.astype(np.int16), {}, "signed"),
        (RGBA8[:, :, 0].view(np.int8), {}, "signed"),
        (GRAY16.astype(np.uint32), {}, "32 bits"),
        (RGB16.astype(np.uint32), {"photometric": "rgb"}, "32 bits"),
        (GRAY16.astype(np.float32) / 257, {}, "range is 0 to 1"),
        (NAN, {}, "not a number"),
        (np.stack([GRAY16] * 3), {}, "3 frames"),
        (np.stack([GRAY16] * 16), {"volumetric": True, "tile": (16, 16, 16)}, "volume"),
        (GRAY16, {"photometric": "cfa"}, "save it as RGB"),
    ],
)
def test_tiffs_without_one_right_reading_are_refused_by_both_readers(values, options, reason: str, tmp_path: Path):
    tifffile.imwrite(tmp_path / "odd.tif", values, **{"photometric": "minisblack"} | options)

    for read in (read_photo, images.read):
        with pytest.raises(ValueError, match=rf"odd\.tif: .*{reason}"):
            read(tmp_path / "odd.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tga", "jp2", "avif", "ppm", "tif"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_truncated_files_are_refused(suffix: str, share: float, tmp_path: Path):
    file = tmp_path / f"cut.{suffix}"
    Image.fromarray(RGBA8[:, :, :3]).save(file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])

    with pytest.raises(ValueError, match=rf"cut\.{suffix}: "):
        images.read(file)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
def test_truncated_deep_tiffs_are_refused(compression: str | None, tmp_path: Path):
    tifffile.imwrite(tmp_path / "cut.tif", RGB16, photometric="rgb", compression=compression)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:-200])

    with pytest.raises(ValueError, match=r"cut\.tif: corrupt or truncated"):
        read_photo(tmp_path / "cut.tif")


@pytest.mark.parametrize("damage", [slice(-40, None), slice(200, 202)])
def test_a_corrupt_deep_png_is_refused(damage: slice, tmp_path: Path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in RGB16)
    content = bytearray(png(tmp_path / "a.png", (50, 37), 16, 2, rows).read_bytes())
    content[damage] = b"" if damage.stop is None else b"\xff\xff"
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(ValueError, match=r"a\.png: corrupt or truncated"):
        read_photo(tmp_path / "a.png")


def test_a_megabyte_of_text_or_profile_is_no_fault(tmp_path: Path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "x" * 3_000_000, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", "y" * 3_000_000, zip=True)
    noise = np.random.default_rng(0).bytes(2_000_000)
    Image.fromarray(RGBA8).save(tmp_path / "a.png", pnginfo=texts, icc_profile=noise)

    photo = read_photo(tmp_path / "a.png")

    assert np.array_equal(photo.pixels, RGBA8[:, :, :3])
    assert photo.icc == noise


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_corrupt_exif_is_left_out_and_the_image_read(tmp_path: Path):
    Image.fromarray(RGBA8).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffgarbage")
    Image.fromarray(RGBA8).save(tmp_path / "b.png", exif=b"Exif\0\0garbage")

    assert np.array_equal(read_photo(tmp_path / "a.png").pixels, RGBA8[:, :, :3])
    assert "EXIF" in read_photo(tmp_path / "b.png").remark


def test_content_counts_and_not_the_extension(tmp_path: Path):
    Image.fromarray(RGBA8[:, :, :3]).save(tmp_path / "a.jpg", "PNG")

    assert np.array_equal(images.read(tmp_path / "a.jpg"), RGBA8[:, :, :3])


def test_the_colors_of_hidden_pixels_do_not_reach_training_images(tmp_path: Path):
    rgba = RGBA8.copy()
    rgba[:, :, 3] = np.where(RGBA8[:, :, 0] > 120, 255, 0)
    visible = rgba[:, :, 3:] == 255
    Image.fromarray(np.where(visible, rgba, 0).astype(np.uint8)).save(tmp_path / "black.png")
    Image.fromarray(rgba).save(tmp_path / "color.png")

    assert np.array_equal(images.read(tmp_path / "black.png"), images.read(tmp_path / "color.png"))
    assert np.array_equal(images.read(tmp_path / "color.png"), np.where(visible, rgba[:, :, :3], 255))


@pytest.mark.parametrize("bits", [8, 10])
def test_heic_is_read_at_its_depth(bits: int, tmp_path: Path):
    heif = pytest.importorskip("pillow_heif")
    values = (RGB16 >> 6 << 6) if bits == 10 else np.ascontiguousarray(RGBA8[:, :, :3])
    out = io.BytesIO()
    image = heif.from_bytes("RGB;16" if bits == 10 else "RGB", (50, 37), values.tobytes())
    image.save(out, quality=-1, matrix_coefficients=0, chroma=444)
    (tmp_path / "a.heic").write_bytes(out.getvalue())

    pixels = read_photo(tmp_path / "a.heic").pixels

    assert np.array_equal(pixels, np.round((values >> 6) / 1023 * 65535) if bits == 10 else values)


def test_without_the_extras_what_needs_them_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import imagecodecs

    tifffile.imwrite(tmp_path / "rgb.tif", RGB16, photometric="rgb")
    tifffile.imwrite(tmp_path / "gray.tif", GRAY16, photometric="minisblack", compression="lzw")
    (tmp_path / "deep.jp2").write_bytes(imagecodecs.jpeg2k_encode(RGB16, level=0))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    for name in ("tifffile", "imagecodecs", "pillow_heif"):
        monkeypatch.setitem(sys.modules, name, None)

    for name, extra in (("rgb.tif", "tiff"), ("deep.jp2", "tiff"), ("a.heic", "heic")):
        with pytest.raises(ValueError, match=rf"{name}: .*install 'srgan-dist\[{extra}\]'"):
            read_photo(tmp_path / name)
    assert np.array_equal(read_photo(tmp_path / "gray.tif").pixels[:, :, 0], GRAY16)


@pytest.mark.skipif(not CASES.is_dir(), reason="no cases beside the checkout")
def test_the_planar_tiff_that_was_garbage():
    assert np.array_equal(
        read_photo(CASES / "rgb16_planar.tif").pixels, np.moveaxis(tifffile.imread(CASES / "rgb16_planar.tif"), 0, 2)
    )
