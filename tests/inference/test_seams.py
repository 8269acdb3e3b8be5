from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srgan_dist.inference.fusion import super_resolve
from srgan_dist.inference.seams import tile_rules
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import load_generator


class Blur(nn.Module):
    """Says nothing about its receptive field, which is 2 * depth."""

    def __init__(self, depth: int, decay: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False) for _ in range(depth))
        for layer in self.layers:
            nn.init.constant_(layer.weight, decay)

    def forward(self, lr: Tensor) -> Tensor:
        for layer in self.layers:
            lr = layer(lr)
        return nn.functional.interpolate(lr, scale_factor=2)


class Windows(nn.Module):
    """Shows every pixel against the mean of its square window, and pads the last windows, as attention does."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.weight = side, nn.Parameter(torch.ones(()))

    def forward(self, lr: Tensor) -> Tensor:
        h, w = lr.shape[2:]
        padded = nn.functional.pad(lr, (0, -w % self.side, 0, -h % self.side))
        means = nn.functional.avg_pool2d(padded, self.side)
        return (lr - nn.functional.interpolate(means, scale_factor=self.side)[:, :, :h, :w]) * self.weight + 0.5


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (61, 125, 3), np.uint8)


def test_an_unknown_receptive_field_is_measured():
    assert tile_rules(Blur(1)) == (16, 16)
    assert 16 < tile_rules(Blur(40, decay=1 / 25)).margin < 80  # its rim, 80 pixels away, hardly counts


def test_a_network_without_statement_is_tiled_without_a_seam(noise: np.ndarray):
    network = Blur(3, decay=1 / 25)

    ours = Upscaler(network, 2, tile=20)(noise)

    assert np.abs(ours.astype(int) - super_resolve(network, noise)).max() <= 1


@pytest.mark.parametrize("side", [8, 32, 48, 64])
def test_tiles_start_where_the_windows_of_a_network_do_that_states_none(side: int, noise: np.ndarray):
    network = Windows(side)

    assert tile_rules(network).grid == max(16, side)
    ours = Upscaler(network, 1, tile=20)(noise)
    assert np.abs(ours.astype(int) - super_resolve(network, noise)).max() <= 1


def test_stated_windows_of_any_side_are_the_grid(noise: np.ndarray):
    network = Windows(24)
    network.grid = 24  # as a network of another program

    assert tile_rules(network).grid == 24
    ours = Upscaler(network, 1, tile=20)(noise)
    assert np.abs(ours.astype(int) - super_resolve(network, noise)).max() <= 1


def test_a_network_of_nan_has_rules_too():
    network = Windows(8)
    nn.init.constant_(network.weight, torch.nan)

    assert tile_rules(network).grid == 16


def random_weights(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Large enough that the attention of one pixel to others changes the result."""
    torch.manual_seed(1)
    network = build()
    for parameter in network.parameters():
        if parameter.ndim > 1 and parameter.numel():
            nn.init.xavier_normal_(parameter)
    return network.state_dict()


def dat() -> nn.Module:
    from spandrel.architectures.DAT.__arch.DAT import DAT

    return DAT(embed_dim=32, split_size=[8, 32], depth=[2, 2], num_heads=[2, 2], expansion_factor=2, upscale=2)


def hat() -> nn.Module:
    from spandrel.architectures.HAT.__arch.HAT import HAT

    return HAT(embed_dim=32, depths=(2,), num_heads=(2,), window_size=32, squeeze_factor=8, upscale=2, mlp_ratio=2,
               upsampler="pixelshuffle")  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "build", [pytest.param(dat, marks=pytest.mark.slow), pytest.param(hat, marks=pytest.mark.extended)]
)
def test_attention_in_windows_of_32_is_tiled_within_one_level(build, noise: np.ndarray, tmp_path: Path):
    pytest.importorskip("spandrel")
    torch.save({"params": random_weights(build)}, tmp_path / "model.pth")
    model = load_generator(tmp_path / "model.pth")
    upscaler = Upscaler(model.network, model.scale, tile=40)

    whole = super_resolve(model.network, noise)

    assert tile_rules(model.network).grid == 32
    assert whole.std() > 50
    assert np.abs(upscaler(noise).astype(int) - whole).max() <= 1
    assert upscaler(noise[:5, :7]).shape == (10, 14, 3)
