"""A folder as users have them: good, odd, broken and nested files. Each one is done, refused by name, or counted."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.inference.records import RECORDS
from srgan_dist.models import CompactConfig
from srgan_dist.models.files import save_generator
from tests.conftest import ROOT, random_image

CASES = ROOT.parent / "shared" / "cases"
RGB = random_image(20, 30)
DEEP = RGB.astype(np.uint16) * 257
GOOD = ("a.png", "B.JPG", "c.jfif", "d.webp", "e.bmp", "f.tga", "g.jp2", "h.avif", "i.gif", "j.ppm", "k.jpe", "l.tiff")
"""Written with Pillow."""


def model(folder: Path, seed: int) -> Path:
    import torch

    torch.manual_seed(seed)
    config = CompactConfig(convs=1, channels=4)
    file = folder / f"model{seed}.safetensors"
    save_generator(file, config.build(2).eval(), config, {"label": f"m{seed}", "scale": 2, "degradation": "given"})
    return file


def forty_files(folder: Path) -> Path:
    folder.mkdir()
    image = Image.fromarray(RGB)
    for name in GOOD:  # 12 good ones
        image.save(folder / name, {".jfif": "JPEG", ".jpe": "JPEG", ".tga": "TGA"}.get(Path(name).suffix))
    tifffile.imwrite(folder / "planar.tif", np.moveaxis(DEEP, 2, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(folder / "lzw.tif", DEEP, photometric="rgb", compression="lzw")
    tifffile.imwrite(folder / "float.tif", (RGB / 255).astype(np.float32), photometric="rgb")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "named.jpg", "PNG")
    Image.fromarray(np.dstack([RGB, np.where(RGB[:, :, 0] > 90, 255, 0).astype(np.uint8)])).save(folder / "alpha.png")
    image.quantize(16).save(folder / "palette.png", bits=4)
    Image.fromarray(DEEP[:, :, 0]).save(folder / "gray16.png")  # 20 that can be upscaled
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-300])
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<!DOCTYPE html><html></html>")
    (folder / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "pipe.png")
    image.save(folder / "moving.webp", save_all=True, append_images=[image.rotate(180)])
    tifffile.imwrite(folder / "signed.tif", DEEP[:, :, 0].view(np.int16), photometric="minisblack")
    tifffile.imwrite(folder / "bright.tif", RGB.astype(np.float32), photometric="rgb")
    (folder / "film.mp4").write_bytes(b"0")  # 30, with 10 that are refused
    for name in (".DS_Store", "._a.png", "Thumbs.db", "notes.txt", "scan.pdf", "noextension"):
        (folder / name).write_bytes(b"0")
    for name in ("nested/a.png", "nested/deep.png/x.png", "nested/notes.txt", ".trash/old.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name, "PNG")
    return folder


def counts(said: str) -> dict[str, int]:
    """The numbers in the last line, and in the line about files that are left out."""
    last = re.search(r"(\d+) of (\d+) images upscaled.* (\d+) failed, (\d+) skipped", said)
    assert last, said
    left_out = re.search(r"left out: (.*)", said)
    listed = re.findall(r"(?:^|, )(\d+) (?:in sub|hidden|of other|links)", left_out[1] if left_out else "")
    return {
        "done": int(last[1]), "failed": int(last[3]), "skipped": int(last[4]), "listed": sum(map(int, listed)),
    }  # fmt: skip


def tree(folder: Path) -> dict[str, int]:
    return {f.relative_to(folder).as_posix(): f.stat().st_mtime_ns for f in folder.rglob("*.png") if f.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("recursive", [pytest.param(False, marks=pytest.mark.extended), True])
def test_of_forty_files_each_is_done_refused_or_counted(
    recursive: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder, out = forty_files(tmp_path / "in"), tmp_path / "out"
    assert sum(1 for f in folder.rglob("*") if not f.is_dir()) == 40
    flags = [str(folder), str(out), *(["--recursive"] if recursive else []), "--model"]
    good, listed = (22, 8) if recursive else (20, 10)

    code = main(["upscale", *flags, str(model(tmp_path, 1))])
    said = capsys.readouterr().err

    assert code == 1
    assert counts(said) == {"done": good, "failed": 10, "skipped": 0, "listed": listed}, said
    for name in ("cut.png", "empty.png", "page.jpg", "pointer.png", "gone.png", "pipe.png", "moving.webp", "signed.tif",
                 "bright.tif", "film.mp4"):  # fmt: skip
        assert len([line for line in said.splitlines() if f"/{name}: " in line]) == 1, name
    first = tree(out)
    assert len(first) == good
    assert ("nested/deep.png/x.png" in first) == recursive

    main(["upscale", *flags, str(tmp_path / "model1.safetensors")])

    assert counts(capsys.readouterr().err) == {"done": 0, "failed": 10, "skipped": good, "listed": listed}
    assert tree(out) == first

    main(["upscale", *flags, str(model(tmp_path, 2))])

    assert counts(capsys.readouterr().err) == {"done": good, "failed": 10, "skipped": 0, "listed": listed}
    assert tree(out).keys() == first.keys()
    assert not {name for name, time in tree(out).items() if first[name] == time}
    assert (out / RECORDS).exists()


@pytest.mark.skipif(not CASES.is_dir(), reason="no cases beside the checkout")
def test_the_rim_of_a_sprite_has_the_sprites_color(tmp_path: Path):
    main(["upscale", str(CASES / "sprite.png"), str(tmp_path / "o.png"), "--model", str(CASES / "compact2.pth")])

    rgba = np.asarray(Image.open(tmp_path / "o.png"))
    rim = (rgba[:, :, 3] > 0) & (rgba[:, :, 3] < 255)
    assert rim.any()
    assert np.abs(rgba[rim][:, :3].mean(0) - [229, 31, 39]).max() <= 1


@pytest.mark.parametrize("kind", ["palette", "gray", "deep"])
def test_no_hidden_color_reaches_the_result(kind: str, tmp_path: Path):
    weights, results = model(tmp_path, 1), []
    shown = np.asarray(Image.fromarray(random_image(20, 30, seed=3)).convert("L")) > 120
    for hidden in (0, 255):
        gray = np.where(shown, 150, hidden).astype(np.uint8)
        file, out = tmp_path / f"{hidden}.png", tmp_path / f"out{hidden}.png"
        if kind == "palette":
            image = Image.fromarray(shown.astype(np.uint8), "P")
            image.putpalette([hidden] * 3 + [150, 20, 30])
            image.save(file, transparency=0)
        elif kind == "gray":
            Image.fromarray(np.dstack([gray, shown * np.uint8(255)])).save(file)
        else:
            file = file.with_suffix(".tif")
            rgba = np.dstack([gray, gray, gray, shown * np.uint8(255)]).astype(np.uint16) * 257
            tifffile.imwrite(file, rgba, photometric="rgb", extrasamples=["unassalpha"])
        main(["upscale", str(file), str(out), "--model", str(weights)])
        results.append(np.asarray(Image.open(out)))

    assert np.array_equal(*results)
    assert 0 < (results[0][:, :, -1] == 0).mean() < 1


def test_alpha_can_be_upscaled_by_the_model(tmp_path: Path):
    weights, rgba = model(tmp_path, 1), np.dstack([RGB, RGB[:, :, 0]])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(RGB[:, :, 0]).save(tmp_path / "alpha.png")
    for name, flags in (("a", ["--alpha", "model"]), ("alpha", [])):
        main(
            ["upscale", str(tmp_path / f"{name}.png"), str(tmp_path / f"{name}2.png"), "--model", str(weights), *flags]
        )

    alpha = np.asarray(Image.open(tmp_path / "a2.png"))[:, :, 3]
    assert np.array_equal(alpha, np.asarray(Image.open(tmp_path / "alpha2.png")))


def test_too_many_pixels_for_the_flag_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    flags = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--model", str(model(tmp_path, 1)), "--max-pixels"]

    assert main(["upscale", *flags, "599"]) == 1
    assert "a.png: 30x20 pixels are more than --max-pixels 599" in capsys.readouterr().err
    assert main(["upscale", *flags, "600"]) == 0
