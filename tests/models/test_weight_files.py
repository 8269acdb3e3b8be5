"""Training checkpoints of other programs, with the generator inside."""

import argparse
import sys
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from srgan_dist.models import CompactConfig, RRDBNetConfig, SRResNetConfig
from srgan_dist.models.files import load_generator, read_weights
from srgan_dist.models.weight_files import read_model_file

CONFIG = RRDBNetConfig(blocks=1, channels=8, growth_channels=4)


def state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(CONFIG.build(2).state_dict())


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in weights.items()}


G, OTHER, D = state(0), state(1), {"conv0.weight": torch.zeros(4), "conv9.weight": torch.zeros(4)}
LOSS = {"features.0.weight": torch.zeros(2), "features.2.weight": torch.zeros(2)}

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "BasicSR": {"params": OTHER, "params_ema": G},
    "BasicSR without EMA": {"params": prefixed("module.", G)},
    "nested": {"iter": 5, "net_g": {"params_ema": G, "params": OTHER}, "net_d": {"params": D}},
    "mmagic": {
        "meta": {"iter": 5},
        "state_dict": prefixed("generator.", G) | prefixed("discriminator.", D) | prefixed("loss.vgg.", LOSS)
        | {"data_preprocessor.mean": torch.zeros(3)},
    },
    "mmagic with EMA": {
        "state_dict": prefixed("generator.", OTHER) | prefixed("generator_ema.module.", G)
        | {"generator_ema.steps": torch.tensor(5), "step_counter": torch.tensor(5)},
    },
    "mmediting": {"state_dict": prefixed("generator.", G), "optimizer": {"generator": {"state": {}}}},
    "Lightning": {"state_dict": prefixed("net_g.", G) | prefixed("net_d.", D), "pytorch-lightning_version": "2"},
    "Lightning with one network": {"state_dict": prefixed("model.", G) | prefixed("loss_fn.", LOSS)},
    "two networks": {"generator": G, "discriminator": D, "epoch": 3},
    "averaged": prefixed("module.", G) | {"n_averaged": torch.tensor(3)},
    "compiled": {"model": prefixed("_orig_mod.", G), "optimizer": {"state": {}}},
    "half": {"params_ema": {k: v.bfloat16() for k, v in G.items()}},
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_generator_in_a_training_checkpoint_is_opened(tmp_path: Path, name: str):
    torch.save(CHECKPOINTS[name], tmp_path / "checkpoint.pth")

    model = load_generator(tmp_path / "checkpoint.pth")

    assert (model.config, model.scale) == (CONFIG, 2)
    tolerance = 0.01 if name == "half" else 0
    opened = model.network.state_dict()
    assert all(torch.allclose(opened[k], G[k], rtol=tolerance, atol=0) for k in G)
    assert read_weights(tmp_path / "checkpoint.pth").keys() == G.keys()


def test_settings_and_logs_beside_the_weights_are_ignored_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        ran = 0

        def __init__(self) -> None:
            self.values = np.arange(3.0)

        def __setstate__(self, values: object) -> None:
            HistoryBuffer.ran += 1

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer  # pyright: ignore
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    content = {
        "state_dict": prefixed("generator.", G), "message_hub": {"loss": HistoryBuffer(), "lr": np.float64(0.1)},
        "args": argparse.Namespace(path=Path("a")), "counts": defaultdict(int, {"a": 1}),
    }  # fmt: skip
    torch.save(content, tmp_path / "iter_5.pth")

    assert load_generator(tmp_path / "iter_5.pth").config == CONFIG
    assert HistoryBuffer.ran == 0


def test_a_part_of_a_checkpoint_of_this_package_names_its_directory(tmp_path: Path):
    torch.save({"step": 3, "networks": {"ema": {"network": G}}}, tmp_path / "state.pt")

    with pytest.raises(ValueError, match=rf"state.pt: part of a checkpoint; pass its directory, {tmp_path}"):
        read_model_file(tmp_path / "state.pt")


CONFIGS = (
    (CONFIG, 4, ("conv_first.weight", "conv_last.bias", "body.0.rdb2.conv3.weight", "conv_up1.weight")),
    (CompactConfig(convs=2, channels=4), 2, ("body.0.weight", "body.1.weight", "body.2.bias", "body.6.bias")),
    (SRResNetConfig(blocks=2, channels=4), 4, ("head.0.weight", "merge.0.weight", "tail.weight", "upsample.1.0.bias")),
)


@pytest.mark.parametrize(("config", "scale", "name"), [(c, s, n) for c, s, names in CONFIGS for n in names])
def test_a_tensor_that_is_missing_is_named_without_flags_that_upscale_does_not_have(
    tmp_path: Path, config: Any, scale: int, name: str
):
    weights = dict(config.build(scale).state_dict())
    del weights[name]
    torch.save({"params": weights}, tmp_path / "model.pth")

    with pytest.raises(ValueError, match=rf"model.pth: .*incomplete: .*{name}.* missing; download") as caught:
        load_generator(tmp_path / "model.pth")

    assert "--" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tensor_of_another_shape_is_named_without_flags_that_upscale_does_not_have(tmp_path: Path):
    weights = state(0)
    weights["body.0.rdb3.conv5.bias"] = torch.zeros(5)
    torch.save({"params": weights}, tmp_path / "model.pth")

    with pytest.raises(ValueError, match=r"body.0.rdb3.conv5.bias has shape \(5,\) instead of \(8,\)") as caught:
        load_generator(tmp_path / "model.pth")

    assert "--" not in str(caught.value)


def test_a_network_of_spandrel_that_lacks_a_tensor_is_one_line(tmp_path: Path):
    pytest.importorskip("spandrel")
    from spandrel.architectures.SPAN.__arch.span import SPAN

    weights = dict(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).state_dict())
    torch.save({"params": weights}, tmp_path / "whole.pth")
    assert load_generator(tmp_path / "whole.pth").scale == 2
    for name in ("block_3.c2_r.eval_conv.weight", "conv_cat.bias"):
        torch.save({"params": {k: v for k, v in weights.items() if k != name}}, tmp_path / "model.pth")

        with pytest.raises(ValueError, match=rf"model.pth: .*no tensor .*{name}") as caught:
            load_generator(tmp_path / "model.pth")

        assert "\n" not in str(caught.value)
