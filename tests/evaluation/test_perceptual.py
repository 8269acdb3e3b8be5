import socket
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.evaluation import perceptual
from srgan_dist.evaluation.metrics import psnr
from srgan_dist.evaluation.perceptual import Perceptual
from tests.conftest import random_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "a.png")
    return tmp_path


def test_without_pyiqa_one_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "pyiqa", None)

    code = main(["evaluate", "--data", str(folder), "--perceptual", "lpips"])

    assert code == 1
    assert "lpips needs pyiqa: pip install 'srgan-dist[perceptual]'" in capsys.readouterr().err


def test_without_weights_one_line_says_where_they_belong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Library:
        @staticmethod
        def create_metric(name: str, device: object) -> None:
            raise OSError(f"no route to the weights of {name}, nor to {device}")

    monkeypatch.setitem(sys.modules, "pyiqa", Library)

    code = main(["evaluate", "--data", str(folder), "--perceptual", "lpips"])

    said = capsys.readouterr().err
    assert code == 1
    assert "lpips: its weights are not on this machine" in said
    assert "TORCH_HOME" in said


@pytest.mark.slow
def test_pyiqa_sees_the_images_as_they_are():
    pytest.importorskip("pyiqa")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 40, 48, 3), np.uint8)

    found = Perceptual(("psnr",), "cpu")(a, b)  # pyright: ignore  # the one that needs no weights

    assert found["psnr"] == pytest.approx(psnr(a.astype(float), b.astype(float)), abs=1e-3)


def test_one_process_of_a_machine_fetches_the_weights_before_the_others(monkeypatch):
    order = []

    class Group:
        @contextmanager
        def local_main_first(self):
            order.append("enter")
            yield
            order.append("leave")

    monkeypatch.setattr(perceptual, "Perceptual", lambda *_: order.append("open"))

    perceptual.open_perceptual(("lpips",), "cpu", Group())

    assert order == ["enter", "open", "leave"]
    assert perceptual.open_perceptual((), "cpu", Group()) is None


def test_niqe_needs_neither_pyiqa_nor_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(*_: object) -> None:
        raise OSError("no network here")

    monkeypatch.setitem(sys.modules, "pyiqa", None)
    monkeypatch.setattr(socket, "socket", refuse)
    Image.fromarray(random_image(216, 312)).save(tmp_path / "a.png")

    code = main(["evaluate", "--data", str(tmp_path), "--scale", "4", "--against", "bicubic", "--perceptual", "niqe"])

    said = capsys.readouterr().out
    assert code == 0
    assert "NIQE" in said
    assert "| HR |  |  |  | 1.00 |" in said
    assert "niqe_crop4" in said
