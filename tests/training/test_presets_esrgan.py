"""From the papers: the figures of ESRGAN and Real-ESRGAN."""

import pytest

from srgan_dist.models import CompactConfig, RRDBNetConfig, UNetDiscriminatorConfig
from srgan_dist.training.losses import RelativisticGAN, VanillaGAN, Weights
from srgan_dist.training.optimizers import AdamConfig
from srgan_dist.training.presets import PRESETS


def test_esrgan_is_the_papers():
    c = PRESETS["esrgan-x4"]

    assert (c.scale, c.data.hr_crop, c.data.batch, c.generator) == (4, 128, 16, RRDBNetConfig())
    assert (c.pretrain.steps, c.adversarial.steps, c.optimizer) == (1_000_000, 400_000, AdamConfig(betas=(0.9, 0.999)))
    assert c.loss.content is not None
    assert (c.loss.content.layers, c.loss.content.distance, c.loss.content.divisor) == ((("conv5_4", 1.0),), "l1", 1.0)
    assert (c.loss.adversarial, c.loss.pixel) == (RelativisticGAN(mean="all"), "l1")
    assert c.loss.weights == Weights(pixel=1e-2, content=1.0, adversarial=5e-3)
    rates = [c.pretrain.schedule.at(s, 1_000_000) for s in (0, 199_999, 200_000, 999_999)]
    assert rates == pytest.approx([2e-4, 2e-4, 1e-4, 2e-4 / 16])
    rates = [c.adversarial.schedule.at(s, 400_000) for s in (0, 50_000, 100_000, 200_000, 399_999)]
    assert rates == pytest.approx([1e-4, 5e-5, 2.5e-5, 1.25e-5, 6.25e-6])


def test_esrgan_on_celeba_differs_in_its_data_only():
    c = PRESETS["esrgan-celeba-x4"]

    assert c.data.shards == ("shards/celeba-x4",)
    assert c.generator == PRESETS["esrgan-x4"].generator
    assert c.loss == PRESETS["esrgan-x4"].loss


def test_real_esrgan_is_the_papers():
    c = PRESETS["real-esrgan-x4"]

    assert (c.data.hr_crop, c.data.batch, c.ema_decay) == (256, 48, 0.999)
    assert (c.discriminator, c.loss.adversarial) == (UNetDiscriminatorConfig(), VanillaGAN())
    assert c.degradation is not None
    assert c.degradation.sharpen
    assert c.loss.content is not None
    five = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
    assert dict(c.loss.content.layers) == five
    assert c.loss.weights == Weights(pixel=1.0, content=1.0, adversarial=0.1)
    assert c.pretrain.schedule.at(999_999, 1_000_000) == 2e-4
    assert c.adversarial.schedule.at(399_999, 400_000) == 1e-4


@pytest.mark.parametrize("scale", [2, 4])
def test_compact_is_real_esrgan_with_a_small_network(scale):
    c = PRESETS[f"compact-x{scale}"]

    assert (c.scale, c.generator) == (scale, CompactConfig())
    assert c.loss == PRESETS["real-esrgan-x4"].loss
    assert c.degradation == PRESETS["real-esrgan-x4"].degradation
