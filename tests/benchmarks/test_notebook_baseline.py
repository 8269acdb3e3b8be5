"""The comparison with the notebook baseline; its training is run here on tiny networks."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from srgan_dist.models.vgg import LAYER_INDEX, load_vgg
from tests.conftest import ROOT

CHANNELS = (64, 128, 256, 512, 512)


@pytest.fixture
def baseline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("notebook_baseline")


@pytest.fixture
def carry(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("carry")


def options(out: Path, **changes) -> argparse.Namespace:
    given = {
        "out": out, "work": out / "work", "vgg": None, "divisor": 12.75, "layer": "relu5_4", "steps": 9, "seed": 3,
        "device": "cpu", "precision": "no", "quick": True, "seconds": 60.0, "concurrent": True,
    }  # fmt: skip
    return argparse.Namespace(**(given | changes))


def write_vgg(file: Path) -> Path:
    """VGG19 in which every convolution that keeps its width is the identity."""
    torch.manual_seed(0)
    state, width = {}, 3
    for name, index in LAYER_INDEX["vgg19"].items():
        if name.startswith("conv"):
            out = CHANNELS[int(name[4]) - 1]
            weight = torch.empty(out, width, 3, 3)
            torch.nn.init.dirac_(weight) if out == width else torch.nn.init.kaiming_normal_(weight)
            state |= {f"features.{index}.weight": weight.half(), f"features.{index}.bias": torch.zeros(out).half()}
            width = out
    save_file(state, file)
    return file


def test_a_carried_vgg_has_the_features_of_the_original(tmp_path: Path, carry: ModuleType):
    original = write_vgg(tmp_path / "vgg.safetensors")

    carry.round_vgg(original, tmp_path / "small.safetensors")
    restored = carry.expand(tmp_path / "small.safetensors", tmp_path / "restored.safetensors")

    assert (tmp_path / "small.safetensors").stat().st_size < original.stat().st_size / 10
    assert load_file(restored).keys() == load_file(original).keys()
    images = torch.rand(1, 3, 32, 32)
    (ours,), (wanted,) = (load_vgg("vgg19", ["conv4_4"], file)(images) for file in (restored, original))
    assert (ours - wanted).norm() < 0.03 * wanted.norm()
    assert carry.expand(original, tmp_path / "unused.safetensors") == original


@pytest.mark.parametrize("name", ["notebook-x2", "pretrained", "tuned"])
def test_every_configuration_takes_the_same_generator_steps(tmp_path: Path, baseline: ModuleType, name: str):
    ours = baseline.our_command(name, options(tmp_path))
    plain = baseline.plain_command(options(tmp_path))

    pixel, adversarial = (
        int(flag.split("=")[1])
        for phase in ("pretrain", "adversarial")
        for flag in ours
        if flag.startswith(f"--{phase}.steps")
    )
    assert pixel + adversarial == 9
    assert (pixel == 0) == (name == "notebook-x2")
    assert {"--steps=9", "--seed=3"} <= set(plain)
    assert "--seed=3" in ours


def test_a_configuration_that_fails_leaves_a_reason_and_does_not_stop_the_others(
    tmp_path: Path, baseline: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    good = "import json, pathlib; pathlib.Path('notebook/facts.json').write_text(json.dumps({'steps': 9}))"
    monkeypatch.setattr(baseline, "plain_command", lambda _: [sys.executable, "-c", good])
    monkeypatch.setattr(baseline, "our_command", lambda *_: [sys.executable, "-c", "raise SystemExit('no memory')"])
    monkeypatch.setattr(baseline, "make_pairs", lambda _: None)
    given = options(tmp_path, work=tmp_path, only=["tuned", "notebook"])

    assert baseline.train(given) == ["tuned"]

    assert json.loads((tmp_path / "notebook" / "facts.json").read_text())["failure"] == 0
    assert json.loads((tmp_path / "tuned" / "facts.json").read_text())["failure"] == 1
    assert "no memory" in (tmp_path / "tuned" / "log.txt").read_text()


@pytest.mark.slow
def test_notebook_and_preset_are_trained_and_reported(
    tmp_path: Path, baseline: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "images").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{number}.png")
    vgg = write_vgg(tmp_path / "vgg.safetensors")
    monkeypatch.setattr(sys, "argv", [
        "notebook_baseline.py", "--train", str(tmp_path / "images"), "--vgg", str(vgg), "--layer", "relu2_2",
        "--steps", "4", "--device", "cpu", "--quick", "--only", "notebook", "pretrained",
        "--out", str(tmp_path / "out"), "--test", str(tmp_path / "images"),
    ])  # fmt: skip

    assert baseline.main() == 0

    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["training"]["notebook"]["steps"] == report["training"]["pretrained"]["steps"] == 4
    assert set(report["scores"]["images"]) == {"bicubic", "notebook", "pretrained, pixel phase", "pretrained", "HR"}
    assert "failed: was not trained" in capsys.readouterr().out
    assert Image.open(tmp_path / "out" / "comparison.webp").width > 1000
