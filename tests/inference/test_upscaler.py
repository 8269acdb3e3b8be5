import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srgan_dist.imaging import images
from srgan_dist.imaging.listing import list_images
from srgan_dist.inference import upscaler
from srgan_dist.inference.fusion import SelfEnsemble, fused, super_resolve
from srgan_dist.inference.upscaler import NonFiniteError, Upscaler
from srgan_dist.models import CompactConfig, GeneratorConfig, LightEDSRConfig, RRDBNetConfig, SRResNetConfig
from tests.conftest import SHARED

SET14 = SHARED / "set14" / "LR_x4"


@pytest.fixture
def network() -> nn.Module:
    return random_network(blocks=3, channels=16)


def random_network(blocks: int, channels: int) -> nn.Module:
    """As after training: BatchNorm is not the identity and the output fills the range."""
    torch.manual_seed(0)
    network = SRResNetConfig(blocks=blocks, channels=channels).build(4).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.2, 1.5)
    network.tail.weight.data *= 12
    return network


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (61, 85, 3), np.uint8)


@pytest.mark.parametrize("tile", [20, 32, 60])
@pytest.mark.parametrize("batch", [1, 3])
def test_tiled_equals_whole(network: nn.Module, noise: np.ndarray, tile: int, batch: int):
    whole = super_resolve(network, noise)

    ours = Upscaler(network, 4, tile=tile, batch=batch)(noise)

    assert whole.std() > 10
    assert np.abs(ours.astype(int) - whole).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(not SET14.is_dir(), reason="no Set14 here")
def test_tiled_equals_whole_on_set14_at_three_tile_sizes():
    network = random_network(blocks=2, channels=8)
    upscalers = {tile: Upscaler(network, 4, tile=tile) for tile in (44, 64, 100)}

    for file in list_images(SET14):
        lr = images.read(file)
        whole = super_resolve(network, lr).astype(int)
        for tile, tiled in upscalers.items():
            assert np.abs(tiled(lr) - whole).max() <= 1, f"{file.name}, tiles of {tile}"


def test_strips_of_the_second_stage_fit_together(
    network: nn.Module, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upscaler, "_STRIP_BYTES", {"cpu": 1})  # strips of eight rows, the minimum

    sr = Upscaler(network, 4, tile=40)(noise)

    assert np.abs(sr.astype(int) - super_resolve(network, noise)).max() <= 1


def test_too_little_overlap_would_show(network: nn.Module, noise: np.ndarray):
    upscaler = Upscaler(network, 4, tile=24)
    upscaler.margin = 2

    difference = np.abs(upscaler(noise).astype(int) - super_resolve(network, noise))

    assert difference.max() > 1


def test_a_white_image_has_no_dark_edge_or_seam():
    white = np.full((50, 70, 3), 255, np.uint8)
    bicubic = (
        SRResNetConfig(blocks=2, channels=8, interpolated_skip=True).build(2).eval()
    )  # at the start: exactly bicubic

    sr = Upscaler(bicubic, 2, tile=16)(white)

    assert (sr == 255).all()


def test_a_white_image_has_the_edges_of_the_whole(network: nn.Module):
    white = np.full((50, 70, 3), 255, np.uint8)

    ours = Upscaler(network, 4, tile=16)(white)

    assert np.abs(ours.astype(int) - super_resolve(network, white)).max() <= 1


@pytest.mark.parametrize(("scale", "shape"), [(2, (1, 1, 3)), (3, (1, 40, 3)), (8, (33, 2, 3))])
def test_any_size_and_scale(scale: int, shape: tuple[int, int, int]):
    network = SRResNetConfig(blocks=1, channels=4).build(scale).eval()

    sr = Upscaler(network, scale, tile=16)(np.zeros(shape, np.uint8))

    assert sr.shape == (shape[0] * scale, shape[1] * scale, 3)


def test_sixteen_bits_are_kept(network: nn.Module, noise: np.ndarray):
    deep = noise.astype(np.uint16) * 257

    sr = Upscaler(network, 4)(deep)

    assert sr.dtype == np.uint16
    assert len(np.unique(sr)) > 1000
    assert np.abs(sr / 257 - super_resolve(network, noise)).max() <= 1


def test_gray_is_the_mean_of_what_the_network_makes_of_three_equal_channels(network: nn.Module, noise: np.ndarray):
    gray = noise[:, :, :1]

    sr = Upscaler(network, 4)(gray)

    colors = super_resolve(network, np.repeat(gray, 3, axis=2)).astype(float)
    assert sr.shape[2] == 1
    assert np.abs(sr[:, :, 0] - colors.mean(2)).max() <= 1


def test_folding_changes_nothing_but_rounding(network: nn.Module):
    lr = torch.rand(1, 3, 19, 26, generator=torch.Generator().manual_seed(0))
    folded = fused(network)

    assert not any(isinstance(m, nn.BatchNorm2d | nn.PReLU) for m in folded.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    with torch.inference_mode():
        assert torch.allclose(folded(lr), network(lr), rtol=0, atol=1e-5)


def test_the_self_ensemble_does_not_care_how_the_image_lies(network: nn.Module):
    lr = torch.rand(1, 3, 12, 17)
    ensemble = SelfEnsemble(network)

    with torch.inference_mode():
        turned, straight = ensemble(lr.rot90(1, (2, 3))), ensemble(lr).rot90(1, (2, 3))

    assert torch.allclose(turned, straight, atol=1e-5)
    assert not torch.allclose(straight.rot90(-1, (2, 3)), network(lr), atol=1e-3)


def test_bf16_stays_near(network: nn.Module, noise: np.ndarray):
    difference = np.abs(Upscaler(network, 4, precision="bf16")(noise).astype(int) - super_resolve(network, noise))

    assert 0 < difference.mean() < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "scale"),
    [
        (RRDBNetConfig(blocks=2, channels=16, growth_channels=8), 4),
        (RRDBNetConfig(blocks=2, channels=16, growth_channels=8, unshuffle=True), 2),
        (CompactConfig(convs=4, channels=16), 4),
        (LightEDSRConfig(blocks=2, channels=16), 4),
    ],
)
def test_every_generator_is_tiled_without_a_seam(config: GeneratorConfig, scale: int, noise: np.ndarray):
    torch.manual_seed(0)
    network = config.build(scale).eval()
    upscaler = Upscaler(network, scale, tile=20)

    difference = np.abs(upscaler(noise).astype(int) - super_resolve(network, noise))

    assert difference.max() <= 1
    assert upscaler(noise[:1, :1]).shape == (scale, scale, 3)


@pytest.mark.parametrize("size", [(37, 50), (5, 3), (130, 40)])
@pytest.mark.parametrize("tile", [20, 200])
def test_a_seamless_result_continues_at_the_opposite_edges(network: nn.Module, size: tuple[int, int], tile: int):
    texture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    (h, w), surrounded = size, np.pad(texture, ((60, 60), (60, 60), (0, 0)), mode="wrap")

    ours = Upscaler(network, 4, tile=tile, seamless=True)(texture)

    whole = super_resolve(network, surrounded)[240 : 240 + 4 * h, 240 : 240 + 4 * w]
    assert np.abs(ours.astype(int) - whole).max() <= 1
    assert np.abs(Upscaler(network, 4, tile=tile)(texture).astype(int) - whole).max() > 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_nan_and_infinity_are_refused_in_every_tile(network: nn.Module, noise: np.ndarray, value: float, precision):
    network.tail.weight.data[0, 0, 0, 0] = value  # pyright: ignore

    with pytest.raises(NonFiniteError, match=r"the network returns NaN.*not finite: tail\.weight"):
        Upscaler(network, 4, tile=32, precision=precision)(noise)


class Overflow(nn.Module):
    """Exceeds the range of fp16 where the image is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.receptive_field = nn.Parameter(torch.ones(())), 1

    def forward(self, lr: Tensor) -> Tensor:
        return (lr * self.weight * 1000) * 100 / 1e5


def test_tiles_that_overflow_in_fp16_are_repeated_in_fp32(noise: np.ndarray, caplog: pytest.LogCaptureFixture):
    noise[:, :40] //= 8  # tiles without overflow
    with caplog.at_level("WARNING", "srgan_dist"):
        ours = Upscaler(Overflow(), 1, tile=16, precision="fp16")(noise)

    assert np.abs(ours.astype(int) - noise).max() <= 1
    assert len([r for r in caplog.records if "repeated in fp32" in r.message]) == 1


class Greedy(nn.Module):
    """Has no memory for more than 4000 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.receptive_field = 1

    def forward(self, lr: Tensor) -> Tensor:
        if lr.shape[0] * lr.shape[2] * lr.shape[3] > 4000:
            raise torch.OutOfMemoryError
        return self.conv(lr)


def test_a_device_without_memory_gets_smaller_tiles(noise: np.ndarray):
    network = Greedy()

    sr = Upscaler(network, 1, batch=4)(noise)

    expected = (network.conv(torch.from_numpy(noise).permute(2, 0, 1)[None] / 255).clamp(0, 1) * 255).round()
    assert np.abs(sr.astype(int) - expected[0].permute(1, 2, 0).detach().numpy()).max() <= 1
