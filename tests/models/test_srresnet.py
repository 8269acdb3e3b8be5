import pytest
import torch
from PIL import Image

from srgan_dist.imaging.resize import interpolate
from srgan_dist.inference.fusion import to_uint8
from srgan_dist.models import SRResNetConfig
from tests.conftest import random_image


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_papers_generator_has_1_55_million_parameters():
    assert round(parameters(SRResNetConfig().build(4)) / 1e6, 2) == 1.55


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_output_is_scale_times_larger(scale: int):
    network = SRResNetConfig(blocks=1, channels=4).build(scale).eval()

    assert network(torch.rand(2, 3, 5, 7)).shape == (2, 3, 5 * scale, 7 * scale)


def test_another_scale_is_refused_with_the_choice():
    with pytest.raises(ValueError, match=r"scale=5 .* 2, 3, 4 or 8"):
        SRResNetConfig().build(5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_with_the_interpolated_skip_the_first_output_is_bicubic(scale: int):
    lr = random_image(20, 24) // 2 + 60  # no overshoot beyond 0..255, which Pillow would clip between its two passes
    network = SRResNetConfig(blocks=1, channels=4, interpolated_skip=True).build(scale).eval()

    sr = to_uint8(network(torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255))[0]

    difference = abs(sr.astype(int) - interpolate(lr, scale, "bicubic").astype(int))
    assert difference.max() <= 1  # Pillow rounds there too
    assert Image.fromarray(sr).size == (24 * scale, 20 * scale)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_tail_before_the_last_shuffle_computes_the_same_up_to_the_rim(scale: int):
    torch.manual_seed(0)
    network = SRResNetConfig(blocks=1, channels=4).build(scale).double().eval()
    lr = torch.rand(2, 3, 6, 9, dtype=torch.float64)
    before = network(lr)

    network.shuffle_last()

    assert network.tail[0].out_channels > 3
    assert torch.allclose(network(lr), before, rtol=0, atol=1e-12)
