"""ESRGAN on photographs and on faces, through the command that users type."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torchvision.models import vgg19

from srgan_dist.cli.app import main
from srgan_dist.models import RRDBNetConfig
from srgan_dist.models.files import load_generator
from tests.conftest import TINY

FLAGS = (
    "--generator.growth-channels=8", "--pretrain.steps=1", "--adversarial.steps=2", "--log-every=1",
    "--validation.images=1", "--tracking.enabled=False",
)  # fmt: skip


def terms(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in lines if "loss/generator/pixel" in line}


def face(seed):
    """Something like an aligned 178x218 face: oval, eyes, mouth, hair, in random colors."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (178, 218), tuple(rng.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    skin, hair = (tuple(rng.integers(60, 255, 3)) for _ in range(2))
    draw.ellipse((25, 15, 153, 160), fill=hair)
    draw.ellipse((40, 45, 138, 190), fill=skin)
    for x in (62, 100):
        draw.ellipse((x, 100, x + 18, 111), fill="white")
        draw.ellipse((x + 5, 101, x + 13, 110), fill=tuple(rng.integers(0, 120, 3)))
    draw.arc((65, 130, 112, 165), 20, 160, fill=(160, 30, 40), width=4)
    grain = rng.normal(0, 6, (218, 178, 3))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.slow
def test_esrgan_trains_both_phases_on_faces_with_vgg_content(tmp_path, launch):
    (tmp_path / "faces" / "valid").mkdir(parents=True)
    (tmp_path / "faces" / "train").mkdir()
    for i in range(6):
        face(i).save(tmp_path / "faces" / ("valid" if i == 0 else "train") / f"{i:06d}.png")
    assert (
        main(["pack", "folder", "--root", str(tmp_path / "faces"), "--scale", "4", "--out", str(tmp_path / "s")]) == 0
    )
    torch.manual_seed(0)
    torch.save(vgg19().features.state_dict(), tmp_path / "vgg.pth")  # random: stands in for ImageNet's weights

    done = launch(
        "esrgan-celeba-x4", *TINY, *FLAGS, "--data.shards=s", "--run-dir=run", "--loss.content.weights=vgg.pth",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    seen = terms(tmp_path / "run")
    assert seen.keys() == {1, 2, 3}
    assert all(seen[step]["loss/generator/content"] > 0 for step in (2, 3))
    assert all(np.isfinite(value) for line in seen.values() for value in line.values())
    for name in ("rrdbnet", "esrgan"):
        loaded = load_generator(tmp_path / "run" / "models" / f"{name}.safetensors")
        assert loaded.config == RRDBNetConfig(blocks=1, channels=8, growth_channels=8)
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert {"RRDBNet", "ESRGAN", "bicubic"} <= evaluation["means"].keys()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs") / "s"
    assert main(["pack", "sample", "--scale", "4", "--limit", "3", "--out", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_esrgan_trains_both_phases_on_photographs_from_other_weights(tmp_path, launch, photographs):
    torch.manual_seed(3)
    first = RRDBNetConfig(blocks=1, channels=8, growth_channels=8).build(4)
    torch.save({"params_ema": first.state_dict()}, tmp_path / "pretrained.pth")

    done = launch(
        "esrgan-x4", "--loss.content.type=none", *TINY, *FLAGS, f"--data.shards={photographs}", "--run-dir=run",
        "--weights=pretrained.pth", "--ema-decay=0", "--pretrain.schedule.learning-rate=0",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"--weights pretrained.pth: the pixel phase .* steps on L1 will .*--pretrain.steps 0", done.stderr)
    seen = terms(tmp_path / "run")
    assert {"loss/generator/adversarial", "loss/discriminator", "discriminator/real_logits"} <= seen[3].keys()
    kept = load_generator(tmp_path / "run" / "models" / "rrdbnet.safetensors")  # learned nothing: learning rate 0
    assert all(torch.equal(v, kept.network.state_dict()[k]) for k, v in first.state_dict().items())
    moved = load_generator(tmp_path / "run" / "models" / "esrgan.safetensors").network.state_dict()
    assert not all(torch.equal(v, moved[k]) for k, v in first.state_dict().items())


@pytest.mark.slow
def test_real_esrgan_trains_both_phases_on_degraded_photographs_against_its_unet(tmp_path, launch, photographs):
    tiny = [flag for flag in TINY if not flag.startswith("--discriminator.dense")]  # a U-Net has none

    done = launch(
        "real-esrgan-x4", "--loss.content.type=none", *tiny, *FLAGS, f"--data.shards={photographs}", "--run-dir=run",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    seen = terms(tmp_path / "run")
    assert seen.keys() == {1, 2, 3}
    assert all(np.isfinite(value) for line in seen.values() for value in line.values())
    for name in ("realesrnet", "realesrgan"):
        assert load_generator(tmp_path / "run" / "models" / f"{name}.safetensors").degradation == "realesrgan"
