import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.imaging.resize import imresize
from srgan_dist.inference.fusion import super_resolve
from srgan_dist.inference.jobs import find_jobs
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from tests.conftest import SHARED

CASES = SHARED.parent / "cases"
CONFIG = SRResNetConfig(blocks=1, channels=4, interpolated_skip=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    notes = {"label": "tiny", "scale": 2, "degradation": "matlab-mirror"}
    save_generator(file, CONFIG.build(2).eval(), CONFIG, notes)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "c.webp"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / name)
    return folder


def run(*arguments: object) -> int:
    return main(["upscale", *map(str, arguments)])


def names(folder: Path) -> list[str]:
    """The results; the records are hidden."""
    return sorted(f.name for f in folder.iterdir() if not f.name.startswith("."))


def test_a_folder_becomes_a_folder(model: Path, folder: Path, tmp_path: Path):
    code = run(folder, tmp_path / "out", "--model", model)

    assert code == 0
    assert names(tmp_path / "out") == ["a.png", "b.png", "c.png"]
    lr, sr = np.asarray(Image.open(folder / "a.png")), np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert np.abs(sr.astype(int) - super_resolve(CONFIG.build(2).eval(), lr)).max() <= 1


@pytest.mark.parametrize(("out_scale", "size"), [(3, (90, 60)), (1.5, (45, 30)), (2.25, (68, 45)), (2, (60, 40))])
def test_the_result_has_any_size_after_the_network(
    model: Path, folder: Path, tmp_path: Path, out_scale: float, size: tuple[int, int]
):
    rgba = np.dstack([np.asarray(Image.open(folder / "a.png")), np.full((20, 30), 200, np.uint8)])
    Image.fromarray(rgba).save(folder / "a.png")
    assert run(folder / "a.png", tmp_path / "x2.png", "--model", model) == 0

    assert run(folder / "a.png", tmp_path / "out.png", "--model", model, "--out-scale", out_scale) == 0

    x2, out = (np.asarray(Image.open(tmp_path / name)) for name in ("x2.png", "out.png"))
    assert out.shape == (*size[::-1], 4)
    assert np.array_equal(out, imresize(x2, out_scale / 2))


def test_another_size_is_another_result(model: Path, folder: Path, tmp_path: Path):
    for out_scale in (3, 1):
        assert run(folder, tmp_path / "out", "--model", model, "--out-scale", out_scale, "--overwrite") == 0
        assert Image.open(tmp_path / "out" / "a.png").size == (30 * out_scale, 20 * out_scale)


def test_a_size_must_be_positive(model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(folder, tmp_path / "out", "--model", model, "--out-scale", 0) == 2
    assert "--out-scale 0 must be positive" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.jpeg", "out.webp", "out.tif", "out.tiff"])
def test_the_target_files_extension_decides(model: Path, folder: Path, tmp_path: Path, name: str):
    code = run(folder / "a.png", tmp_path / name, "--model", model)

    assert code == 0
    assert Image.open(tmp_path / name).size == (60, 40)


def test_every_bad_file_gets_a_line_and_the_rest_is_done(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    spoil(folder)

    code = run(folder, tmp_path / "out", "--model", model)

    said = capsys.readouterr().err
    assert code == 1
    for bad, reason in {
        "bomb.png": "bomb", "cut.jpg": "truncated", "text.png": "not an image", "film.mp4": "video",
        "moving.gif": "2 frames",
    }.items():  # fmt: skip
        lines = [line for line in said.splitlines() if bad in line]
        assert len(lines) == 1, said
        assert reason in lines[0]
    assert "CMYK" in next(line for line in said.splitlines() if "cmyk" in line)
    assert names(tmp_path / "out") == ["a.png", "b.png", "c.png", "cmyk.png", "one.png"]
    assert Image.open(tmp_path / "out" / "one.png").size == (2, 2)


def spoil(folder: Path) -> None:
    """One of each kind that users bring."""
    image = Image.open(folder / "a.png")
    (folder / "text.png").write_text("hello")
    (folder / "cut.jpg").write_bytes((folder / "b.jpg").read_bytes()[:400])
    (folder / "film.mp4").write_bytes(b"0")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "folder.png").mkdir()
    image.resize((1, 1)).save(folder / "one.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"0")), (b"IEND", b"")]
    chunks = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def test_a_target_that_cannot_be_written_is_one_line_per_image(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("in the way")

    code = run(folder, tmp_path / "file" / "out", "--model", model)

    said = capsys.readouterr().err
    assert code == 1
    assert said.count("cannot be written") == 3
    assert "Traceback" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_said(model: Path, folder: Path, tmp_path: Path):
    (tmp_path / "out").mkdir(mode=0o555)

    assert run(folder, tmp_path / "out", "--model", model) == 1


def broken(file: Path, value: float, dtype: torch.dtype = torch.float32) -> Path:
    state = CONFIG.build(2).to(dtype).state_dict()
    state["merge.0.weight"][0, 0, 1, 1] = value
    torch.save({"params_ema": state}, file)
    return file


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_not_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
):
    model = broken(tmp_path / "broken.pth", value)

    code = run(folder, tmp_path / "out", "--model", model)

    lines = [line for line in capsys.readouterr().err.splitlines() if "NaN" in line]
    assert code == 1
    assert [f"{folder}/{name}: broken returns NaN or infinite values" in line
            for name, line in zip(("a.png", "b.jpg", "c.webp"), lines, strict=True)] == [True] * 3  # fmt: skip
    assert names(tmp_path / "out") == []


@pytest.mark.skipif(not CASES.is_dir(), reason="no examples beside the checkout")
def test_the_published_case_of_nan_names_model_and_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = run(CASES / "A" / "0001.png", tmp_path / "n.png", "--model", CASES / "nan2.pth")

    lines = [line for line in capsys.readouterr().err.splitlines() if "nan2" in line]
    assert code == 1
    assert len(lines) == 1
    assert "A/0001.png" in lines[0]
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_cast(folder: Path, tmp_path: Path, dtype: torch.dtype):
    model = broken(tmp_path / "half.pth", 0.5, dtype)

    assert run(folder / "a.png", tmp_path / "o.png", "--model", model) == 0
    assert np.asarray(Image.open(tmp_path / "o.png")).std() > 10


def test_alpha_gray_depth_and_direction_survive(model: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    rgba = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    Image.fromarray(rgba).save(tmp_path / "in" / "alpha.png")
    Image.fromarray(rgba[:, :, 0]).save(tmp_path / "in" / "gray.png")
    Image.fromarray(rgba[:, :, 0].astype(np.uint16) * 257).save(tmp_path / "in" / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgba[:, :, :3]).save(tmp_path / "in" / "turned.jpg", exif=exif)

    run(tmp_path / "in", tmp_path / "out", "--model", model)

    modes = {f.stem: (Image.open(f).mode, Image.open(f).size) for f in (tmp_path / "out").glob("*.png")}
    assert modes == {
        "alpha": ("RGBA", (60, 40)), "gray": ("L", (60, 40)), "deep": ("I;16", (60, 40)), "turned": ("RGB", (40, 60)),
    }  # fmt: skip


def test_names_that_would_collide_keep_their_extension(folder: Path, tmp_path: Path):
    Image.open(folder / "a.png").save(folder / "a.bmp")
    paths = (folder, tmp_path / "out")

    targets = [j.target.name for j in find_jobs(paths, "png")]

    assert targets == ["a.bmp.png", "a.png.png", "b.png", "c.png"]


def test_globs_and_lists_of_files_are_taken_each_image_once(folder: Path, tmp_path: Path):
    named = (folder / "*.p*g", folder / "b.jpg", folder / "a.png")
    paths = (*named, tmp_path / "out")

    assert [j.source.name for j in find_jobs(paths, "png")] == ["a.png", "b.jpg"]


def test_results_never_land_among_their_sources(folder: Path):
    paths = (folder, folder)
    with pytest.raises(ValueError, match="choose another folder"):
        find_jobs(paths, "png")
    with pytest.raises(ValueError, match="choose another folder"):
        find_jobs((folder / "a.png", folder / "a.png"), "png")


def test_nothing_to_do_is_said(folder: Path, tmp_path: Path):
    paths = (tmp_path / "missing", tmp_path / "out")
    with pytest.raises(ValueError, match="no such file or folder"):
        find_jobs(paths, "png")
    with pytest.raises(ValueError, match="IN"):
        find_jobs((folder,), "png")


@pytest.mark.slow
def test_two_processes_share_a_folder(model: Path, folder: Path, tmp_path: Path):
    (folder / "bad.png").write_text("hello")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
               "--mixed_precision", "no", "--main_process_port", "0", "-m", "srgan_dist", "upscale",
               folder, out, "--model", model]  # fmt: skip
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}

    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True, timeout=240)

    assert done.returncode == 1  # one of them is bad
    assert names(out) == ["a.png", "b.png", "c.png"]
    assert "3 of 4 images" in done.stderr
