"""Files that people pass as weights."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from srgan_dist.models import CompactConfig
from srgan_dist.models.files import load_generator
from tests.conftest import SHARED

CASES = SHARED.parent / "cases"
STATE = CompactConfig(convs=1, channels=4).build(2).state_dict()


def archive(file: Path, *names: str) -> None:
    with zipfile.ZipFile(file, "w") as out:
        for name in names:
            out.writestr(name, "0")


def cut(file: Path, save: Callable[[Path], object], part: float = 0.5) -> None:
    save(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * part)])


def scripted(file: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(file))


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.pth": (lambda f: f.write_bytes(b""), "empty; download"),
    "lfs.pth": (
        lambda f: f.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 66000000\n"),
        "a Git LFS pointer.*git lfs pull",
    ),
    "lfs.safetensors": (
        lambda f: f.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 66000000\n"),
        "a Git LFS pointer",
    ),
    "page.pth": (lambda f: f.write_text("\n <!DOCTYPE html>\n<html><body>Sign in</body></html>"), "a web page"),
    "page.safetensors": (lambda f: f.write_text("<html lang='en'>" + "é" * 5000), "a web page"),
    "page.ckpt": (lambda f: f.write_bytes(b"\xef\xbb\xbf<HTML>"), "a web page"),
    "denied.pth": (
        lambda f: f.write_text("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        "an XML page.*AccessDenied.*download",
    ),
    "error.pth": (lambda f: f.write_text('{"error": "Invalid token"}'), "JSON.*Invalid token.*download"),
    "rate.safetensors": (lambda f: f.write_text("429 Too Many Requests\n"), "text: '429 Too Many Requests'"),
    "net.param.pth": (lambda f: f.write_text("7767517\n75 83\nInput data"), "an ncnn model"),
    "cut.pth": (lambda f: cut(f, lambda g: torch.save({"params": STATE}, g)), "the end is missing; download"),
    "cut.safetensors": (lambda f: cut(f, lambda g: save_file(STATE, g), 0.9), r"beginning of one: [\d,]+ of [\d,]+"),
    "header.safetensors": (lambda f: cut(f, lambda g: save_file(STATE, g), 0.05), "the beginning of one"),
    "zipped.pth": (lambda f: archive(f, "model.pth", "readme.txt"), "a ZIP archive of model.pth, readme.txt; unpack"),
    "keras.pth": (lambda f: archive(f, "config.json", "model.weights.h5"), "a Keras model"),
    "hdf.pth": (lambda f: f.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "an HDF5 file"),
    "gzip.pth": (lambda f: f.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "a gzip archive; unpack"),
    "saved_model.pth": (lambda f: f.write_bytes(b"\x08\x01\x12\xff\xff" + bytes(99)), "a TensorFlow model"),
    "photo.pth": (lambda f: Image.new("RGB", (4, 4)).save(f, "PNG"), "a PNG image; pass the model with --model"),
    "script.pth": (scripted, "a TorchScript program"),
    "lora.safetensors": (
        lambda f: save_file({"lora_unet_down_blocks_0.lora_down.weight": torch.zeros(2)}, f), "contains a LoRA",
    ),
    "peft.safetensors": (lambda f: save_file({"unet.up.0.to_q.lora_A.weight": torch.zeros(2)}, f), "contains a LoRA"),
    "diffusers.safetensors": (
        lambda f: save_file({"down_blocks.0.resnets.0.conv1.weight": torch.zeros(2)}, f), "of a diffusion model",
    ),
    "sd.safetensors": (
        lambda f: save_file({"model.diffusion_model.out.0.weight": torch.zeros(2)}, f), "a Stable Diffusion checkpoint",
    ),
    "tf.safetensors": (
        lambda f: save_file({"conv2d/kernel:0": torch.zeros(2)}, f), "weights of TensorFlow, Keras or Flax",
    ),
    "flax.safetensors": (lambda f: save_file({"conv.kernel": torch.zeros(2)}, f), "weights of .* Keras or Flax"),
    "llm.safetensors": (
        lambda f: save_file({"model.layers.0.self_attn.q_proj.weight": torch.zeros(2)}, f), "a language model",
    ),
    "net_g.state": (
        lambda f: torch.save({"epoch": 1, "iter": 9, "optimizers": [{}], "schedulers": []}, f),
        "optimizers, without a network; pass the network's file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_no_network_is_called_what_it_is(tmp_path: Path, name: str):
    write, message = KINDS[name]
    write(tmp_path / name)

    with pytest.raises(ValueError, match=f"{name}: .*{message}") as caught:
        load_generator(tmp_path / name)

    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not CASES.is_dir(), reason="no examples beside the checkout")
def test_the_published_case_of_a_web_page():
    with pytest.raises(ValueError, match=r"html_page.pth: .*a web page.*download the file itself"):
        load_generator(CASES / "html_page.pth")


def test_an_onnx_model_is_known_by_its_content_and_its_name(tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    onnx.save(onnx.helper.make_model(graph, producer_name="pytorch"), tmp_path / "model.onnx")
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.pth")

    for name in ("model.onnx", "model.pth"):
        with pytest.raises(ValueError, match=rf"{name}: .*an ONNX model; pass the \.pth"):
            load_generator(tmp_path / name)


def test_arrays_are_known(tmp_path: Path):
    np.savez(tmp_path / "w.npz", a=np.zeros(2))
    np.save(tmp_path / "w.npy", np.zeros(2))

    for name in ("w.npz", "w.npy"):
        with pytest.raises(ValueError, match="NumPy array"):
            load_generator(tmp_path / name)


def test_weights_are_opened_whatever_the_suffix_says(tmp_path: Path):
    torch.save({"params": STATE}, tmp_path / "torch.safetensors")
    torch.save(STATE, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "safe.pth")

    for name in ("torch.safetensors", "old.safetensors", "safe.pth"):
        assert load_generator(tmp_path / name).scale == 2
