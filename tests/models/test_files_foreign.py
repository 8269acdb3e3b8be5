import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srgan_dist.inference.fusion import super_resolve
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import load_generator, save_generator
from srgan_dist.runs import checkpoint
from srgan_dist.training.config import TrainConfig
from srgan_dist.utils.files import write_json
from srgan_dist.utils.serialization import to_dict

CONFIG = SRResNetConfig(blocks=1, channels=4)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)


def compact() -> torch.nn.Module:
    pytest.importorskip("spandrel")
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    return SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=3, upscale=2).eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_community_model_is_opened_and_tiled(tmp_path: Path, noise: np.ndarray, suffix: str):
    network, file = compact(), tmp_path / f"2x_Community{suffix}"
    if suffix == ".pth":
        torch.save({"params_ema": network.state_dict()}, file)
    else:
        save_file(network.state_dict(), file)

    model = load_generator(file)

    assert (model.label, model.scale, model.degradation) == ("2x_Community", 2, "unknown")
    sr = Upscaler(model.network, model.scale, tile=16)(noise)
    assert np.abs(sr.astype(int) - super_resolve(network, noise)).max() <= 1


def test_our_own_file_is_opened_without_spandrel(tmp_path: Path):
    file = tmp_path / "model.safetensors"
    save_generator(file, CONFIG.build(4), CONFIG, {"label": "ours", "scale": 4, "degradation": "pillow"})

    assert load_generator(file)[1:4] == ("ours", 4, "pillow")


def test_a_checkpoint_and_a_run_that_still_trains_are_opened(tmp_path: Path, noise: np.ndarray):
    run = tmp_path / "run"
    run.mkdir()
    write_json(to_dict(TrainConfig(scale=2, generator=CONFIG)), run / "config.json")
    weights = CONFIG.build(2).state_dict()
    state = {"step": 30, "networks": {"ema": {"network": weights, "updates": 30}}}
    saved = checkpoint.save(run / "checkpoints", 30, state, keep=2, best=30)

    for source in (saved, run, run / "checkpoints" / "best"):
        model = load_generator(source)

        assert (model.label, model.scale) == ("run step 30", 2)
        assert super_resolve(model.network, noise).shape == (80, 104, 3)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("evil"),))


def test_code_in_a_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Evil()}, "bad.pth")
    Path("worse.pth").write_bytes(pickle.dumps(Evil()))

    for name in ("bad.pth", "worse.pth"):
        with pytest.raises(ValueError, match=f"{name}: not a file of weights"):
            load_generator(Path(name))

    assert not Path("evil").exists()


def test_what_is_not_a_generator_is_said(tmp_path: Path):
    pytest.importorskip("spandrel")
    torch.save({"strange.weight": torch.zeros(3)}, tmp_path / "strange.pth")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name, reason in {
        "strange.pth": "1 parameters of an unknown network .*, of no architecture that spandrel supports",
        "text.safetensors": "not a file of weights, but text: 'hello'",
        "empty": "not a run directory", "missing": "no such model",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}: .*{reason}"):
            load_generator(tmp_path / name)
