"""What `srgan upscale` does with results that are there already."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.cli.console import INTERRUPTED
from srgan_dist.inference import records
from srgan_dist.models import CompactConfig


def compact(file: Path, seed: int, scale: int = 1) -> Path:
    torch.manual_seed(seed)
    torch.save({"params": CompactConfig(convs=1, channels=4).build(scale).state_dict()}, file)
    return file


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [compact(tmp_path / f"m{n}.pth", n) for n in (0, 1)]


def image(file: Path, seed: int) -> Path:
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)).save(file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n, name in enumerate(("x.png", "y.bmp")):
        image(tmp_path / "A" / name, n)
    return tmp_path / "A"


def run(*arguments: object) -> int:
    return main(["upscale", *map(str, arguments)])


def state(out: Path) -> dict[str, tuple[int, bytes]]:
    return {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in out.iterdir()}


def made_again(before: dict[str, tuple[int, bytes]], out: Path) -> list[str]:
    return sorted(name for name, content in state(out).items() if before.get(name) != content and name[0] != ".")


def test_a_second_run_does_nothing(models: list[Path], folder: Path, tmp_path: Path):
    run(folder, tmp_path / "out", "--model", models[0])
    before = state(tmp_path / "out")

    code = run(folder, tmp_path / "out", "--model", models[0])

    assert code == 0
    assert state(tmp_path / "out") == before


@pytest.mark.parametrize("change", ["model", "option", "overwrite"])
def test_another_model_or_option_makes_everything_again(models: list[Path], folder: Path, tmp_path: Path, change: str):
    run(folder, tmp_path / "out", "--model", models[0])
    before = state(tmp_path / "out")
    flags = {"model": [models[1]], "option": [models[0], "--seamless"], "overwrite": [models[0], "--overwrite"]}

    code = run(folder, tmp_path / "out", "--model", *flags[change])

    assert code == 0
    assert made_again(before, tmp_path / "out") == ["x.png", "y.png"]


def test_the_same_weights_in_another_file_are_the_same_model(models: list[Path], folder: Path, tmp_path: Path):
    run(folder, tmp_path / "out", "--model", models[0])
    before = state(tmp_path / "out")
    torch.save({"params_ema": torch.load(models[0])["params"]}, tmp_path / "copy.pth")

    run(folder, tmp_path / "out", "--model", tmp_path / "copy.pth")

    assert state(tmp_path / "out") == before


def test_the_same_names_from_another_folder_are_refused_and_the_rest_is_done(
    models: list[Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run(folder, tmp_path / "out", "--model", models[0])
    before = state(tmp_path / "out")
    image(tmp_path / "B" / "x.png", 7)
    image(tmp_path / "B" / "z.png", 8)

    code = run(tmp_path / "B", tmp_path / "out", "--model", models[0])

    assert code == 1
    assert made_again(before, tmp_path / "out") == ["z.png"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "result of another image" in line]
    assert len(lines) == 1
    assert f"{folder}/x.png" in lines[0]
    assert run(tmp_path / "B", tmp_path / "out", "--model", models[0], "--overwrite") == 0
    assert made_again(before, tmp_path / "out") == ["x.png", "z.png"]


@pytest.mark.parametrize("time", ["kept", "older", "newer"])
def test_an_image_that_has_changed_is_made_again(models: list[Path], folder: Path, tmp_path: Path, time: str):
    run(folder, tmp_path / "out", "--model", models[0])
    before, seen = state(tmp_path / "out"), (folder / "y.bmp").stat()
    image(folder / "y.bmp", 9)  # of the same size
    shift = {"kept": 0, "older": -(10**12), "newer": 10**12}[time]
    os.utime(folder / "y.bmp", ns=(seen.st_atime_ns, seen.st_mtime_ns + shift))

    code = run(folder, tmp_path / "out", "--model", models[0])

    assert code == 0
    assert made_again(before, tmp_path / "out") == ["y.png"]


def test_folders_that_were_copied_elsewhere_are_still_done(models: list[Path], folder: Path, tmp_path: Path):
    run(folder, tmp_path / "out", "--model", models[0])
    shutil.copytree(folder, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "out", tmp_path / "results", copy_function=shutil.copyfile)
    before = state(tmp_path / "results")

    code = run(tmp_path / "elsewhere", tmp_path / "results", "--model", models[0])

    assert code == 0
    assert state(tmp_path / "results") == before


@pytest.mark.parametrize("kind", ["foreign", "edited", "no records"])
def test_a_file_that_is_no_result_is_kept(models: list[Path], folder: Path, tmp_path: Path, kind: str):
    out = tmp_path / "out"
    if kind == "foreign":
        image(out / "x.png", 3)
    else:
        run(folder, out, "--model", models[0])
        image(out / "x.png", 3) if kind == "edited" else (out / records.RECORDS).unlink()
    before = state(out)

    code = run(folder, out, "--model", models[1])

    assert code == 1
    assert "x.png" not in made_again(before, out)


def test_a_target_file_that_the_user_names_is_replaced_with_a_word(
    models: list[Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "missing" / "o.png"
    assert run(folder / "x.png", out, "--model", models[0]) == 0
    first, time = out.read_bytes(), out.stat().st_mtime_ns
    assert run(folder / "x.png", out, "--model", models[0]) == 0
    assert out.stat().st_mtime_ns == time

    code = run(folder / "y.bmp", out, "--model", models[0])

    assert code == 0
    assert out.read_bytes() != first
    assert "is replaced" in capsys.readouterr().err


def test_a_run_that_was_interrupted_between_record_and_result_goes_on(
    models: list[Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And the result of another model, which was to be replaced, is still known."""
    out = tmp_path / "out"
    run(folder, out, "--model", models[0])
    before = state(out)

    def interrupted(self: records.Records, *rest: Any) -> None:
        add(self, *rest)
        with (out / records.RECORDS).open("a") as half:
            half.write('{"result": "x.p')
        raise KeyboardInterrupt

    add = records.Records.add
    with monkeypatch.context() as patched:
        patched.setattr(records.Records, "add", interrupted)
        assert run(folder, out, "--model", models[1]) == INTERRUPTED
    assert made_again(before, out) == []
    assert not list(out.glob(".*.partial"))

    assert run(folder, out, "--model", models[1]) == 0
    assert made_again(before, out) == ["x.png", "y.png"]
    before = state(out)
    assert run(folder, out, "--model", models[1]) == 0
    assert state(out) == before


def test_an_image_that_changes_while_it_is_upscaled_is_made_again(
    models: list[Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def changed(self: records.Records, partial: Path, source: Path, *rest: Any) -> None:
        if source.name == "y.bmp":
            image(source, 9)
        add(self, partial, source, *rest)

    add = records.Records.add
    with monkeypatch.context() as patched:
        patched.setattr(records.Records, "add", changed)
        run(folder, tmp_path / "out", "--model", models[0])
    before = state(tmp_path / "out")

    assert run(folder, tmp_path / "out", "--model", models[0]) == 0
    assert made_again(before, tmp_path / "out") == ["y.png"]


@pytest.mark.parametrize("stem", ["x" * 246, "x" * 251, "ü" * 123, "画" * 83, "b\udcff\udcfe" * 60], ids=range(5))
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_long_and_odd_names_are_written(models: list[Path], tmp_path: Path, stem: str, kind: str):
    (tmp_path / "A").mkdir()
    shutil.copy(image(tmp_path / "a.bmp", 0), tmp_path / "A" / f"{stem}.bmp")

    code = run(tmp_path / "A", tmp_path / "out", "--model", models[0], "--format", kind)

    assert code == 0
    (result,) = (tmp_path / "out").glob(f"*.{kind}")
    fits = len(os.fsencode(f"{stem}.{kind}")) <= 255
    assert (result.stem == stem) == fits
    assert run(tmp_path / "A", tmp_path / "out", "--model", models[0], "--format", kind) == 0
