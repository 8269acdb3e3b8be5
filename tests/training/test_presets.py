import re
from dataclasses import replace
from pathlib import Path

import pytest

from srgan_dist.models import VGGDiscriminatorConfig
from srgan_dist.models.files import load_generator, load_weights
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.config_checks import check
from srgan_dist.training.optimizers import AdamConfig
from srgan_dist.training.preset_names import SUMMARIES
from srgan_dist.training.presets import PRESETS, preset
from tests.conftest import ROOT


def test_every_preset_has_its_line_and_every_line_its_preset():
    assert list(SUMMARIES) == list(PRESETS)


def test_every_preset_is_valid_and_has_its_own_directory():
    for name in PRESETS:
        check(with_weights(name))

    assert len({preset(name).run_dir for name in PRESETS}) == len(PRESETS)


def with_weights(name: str) -> TrainConfig:
    """A preset; one for fine-tuning with the weights that it needs."""
    return replace(preset(name), weights=Path("weights.pth")) if name.startswith("finetune-") else preset(name)


@pytest.mark.parametrize("name", [n for n in PRESETS if n.startswith("finetune-")])
def test_fine_tuning_keeps_texture_and_needs_weights(name: str):
    config, basis = preset(name), preset(name.removeprefix("finetune-"))

    assert (config.scale, config.generator) == (basis.scale, basis.generator)
    assert isinstance(config.discriminator, VGGDiscriminatorConfig)  # a new U-Net learns too slowly
    assert config.pretrain.steps == 0
    assert (config.loss.pixel, config.loss.content) == (basis.loss.pixel, basis.loss.content)
    assert config.loss.weights.adversarial <= basis.loss.weights.adversarial
    assert config.adversarial.schedule.at(0, 1) < basis.adversarial.schedule.at(0, 1)
    assert 0 < config.discriminator_warmup < config.adversarial.steps
    assert (config.degradation is None) == (basis.degradation is None)
    with pytest.raises(ValueError, match="--weights FILE"):
        check(config)


def test_the_demo_fine_tunes_the_shipped_network_and_compares_with_both():
    config = preset("demo-x4")

    load_weights(config.generator.build(config.scale), config.adversarial_weights)
    assert {load_generator(source).scale for source in config.compare_with} == {config.scale}
    assert config.loss.vgg is None  # nothing is downloaded
    assert 0 < config.discriminator_warmup < config.adversarial.steps


def test_srgan_has_the_papers_numbers():
    c = preset("srgan-x4")

    assert (c.scale, c.data.hr_crop, c.data.batch) == (4, 96, 16)
    assert (c.generator.blocks, c.generator.channels, c.generator.interpolated_skip) == (16, 64, False)
    assert (c.pretrain.steps, c.adversarial.steps) == (1_000_000, 200_000)
    assert (c.loss.pixel, c.loss.content.layers) == ("mse", (("relu5_4", 1.0),))
    assert (c.loss.content.distance, c.loss.content.divisor) == ("mse", 12.75)
    assert (c.loss.weights.pixel, c.loss.weights.content, c.loss.weights.adversarial) == (0.0, 1.0, 1e-3)
    assert c.optimizer == AdamConfig(betas=(0.9, 0.999))
    assert c.pretrain.schedule.at(999_999, 1_000_000) == 1e-4
    assert c.adversarial.schedule.at(99_999, 200_000) == 1e-4
    assert c.adversarial.schedule.at(100_000, 200_000) == 1e-5


def test_the_variants_differ_where_the_paper_says():
    assert preset("srresnet-x4").adversarial.steps == 0
    assert preset("srgan-vgg22-x4").loss.content.layers == (("relu2_2", 1.0),)
    assert preset("srgan-mse-x4").loss.content is None
    assert preset("srgan-mse-x4").loss.weights.pixel == 1.0


def test_the_notebook_is_60_epochs_of_400_pairs_without_pretraining():
    c = preset("notebook-x2")

    assert c.adversarial.steps == 60 * 400 // c.data.batch
    assert c.pretrain.steps == 0
    assert (c.scale, c.data.hr_crop, c.data.batch) == (2, 96, 16)


def test_the_baseline_reads_what_its_recipe_packs():
    recipe = (ROOT / "shards" / "README.md").read_text()

    assert preset("notebook-x2").data.shards[0] in re.findall(r"--limit 400 --out (\S+)", recipe)
