from pathlib import Path

import pytest
import torch
from torchvision.models import vgg19

from srgan_dist.models import SRResNetConfig, UNetDiscriminatorConfig
from srgan_dist.models.vgg import VGGFeatures
from srgan_dist.training.flops import MetaStep, peak_tflops, step_bytes, step_flops
from srgan_dist.training.losses import ContentLoss, VanillaGAN
from srgan_dist.training.presets import preset
from srgan_dist.training.steps import Losses


def meta_step(name: str, adversarial: bool = True) -> MetaStep:
    config = preset(name)
    with torch.device("meta"):
        generator, judge = config.generator.build(config.scale), config.discriminator.build(config.data.hr_crop)
        vgg = VGGFeatures(vgg19().features, [layer for layer, _ in config.loss.content.layers])
    gan = config.loss.adversarial.build(lambda mean: mean)
    losses = Losses(config.loss.pixel, ContentLoss(vgg, config.loss.content), gan, config.loss.weights)
    return MetaStep(generator, judge if adversarial else None, losses)


@pytest.mark.slow
def test_a_step_of_srgan_costs_what_its_layers_cost():
    # 0.692 TFLOP with the fake evaluated once for each network; its second pass, 4 % of that, is saved.
    assert step_flops(meta_step("srgan-x4"), 16, 96, 4) / 1e12 == pytest.approx(0.692 * 0.96, rel=0.01)


@pytest.mark.slow
def test_a_pretraining_step_costs_the_generators_three_passes():
    count = step_flops(meta_step("srgan-x4", adversarial=False), 16, 96, 4)

    assert count / 1e12 == pytest.approx(0.692 * 0.18, rel=0.03)


@pytest.mark.slow
def test_the_cost_is_that_of_the_crops():
    one = meta_step("srgan-x4")

    assert step_flops(one, 8, 96, 4) == step_flops(one, 4, 96, 4) * 2


def test_counting_leaves_the_networks_alone():
    config = preset("srgan-mse-x4")
    network = config.generator.build(2)
    before = {k: v.clone() for k, v in network.state_dict().items()}

    step_flops(MetaStep(network, None, Losses("mse", None, None, config.loss.weights)), 2, 32, 2)

    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_a_network_that_has_been_trained_can_be_counted_whatever_it_keeps():
    judge = UNetDiscriminatorConfig(channels=4).build(32)
    judge(torch.rand(2, 3, 32, 32)).sum().backward()  # spectral normalization now holds a tensor with a graph
    config = preset("srgan-mse-x4")
    losses = Losses("mse", None, VanillaGAN(), config.loss.weights)

    assert step_flops(MetaStep(SRResNetConfig(blocks=1, channels=4).build(2), judge, losses), 2, 32, 2) > 0


def test_synchronized_batch_statistics_are_counted_as_plain_ones(tmp_path: Path):
    config = preset("srgan-mse-x4")
    network = SRResNetConfig(blocks=1, channels=4).build(2)
    losses = Losses("mse", None, None, config.loss.weights)
    plain = step_flops(MetaStep(network, None, losses), 2, 32, 2)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        wrapped = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        assert step_flops(MetaStep(wrapped, None, losses), 2, 32, 2) == plain
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H200", 989), ("NVIDIA H100 PCIe", 756), ("Tesla T4", 65), ("NVIDIA RTX A4000", None)]
)
def test_a_devices_peak_is_known_by_its_whole_name(name: str, peak: float | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)

    assert peak_tflops(torch.device("cuda")) == peak


class Chain(torch.nn.Module):
    """Keeps two tensors of the image's size times four for backward, whatever the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        hr = torch.nn.functional.interpolate(lr * self.weight, scale_factor=2)
        return hr.sin().sin()


def test_what_is_kept_for_backward_is_counted_once_and_let_go():
    losses = Losses("mse", None, None, preset("srgan-mse-x4").loss.weights)
    image = 16 * 16 * 3 * 4

    kept = step_bytes(MetaStep(Chain(), None, losses), 1, 16, 2, torch.float32)

    # lr, two inputs of sin, and the two sides of the squared difference.
    assert 0 <= kept - (image // 4 + 4 * image) < 64  # and a few scalars
