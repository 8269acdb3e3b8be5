import json
from pathlib import Path

import pytest
import torch
from torch import nn

from srgan_dist.models import SRResNetConfig, UNetDiscriminatorConfig, VGGDiscriminatorConfig
from srgan_dist.models.discriminator_files import load_discriminator_weights, save_discriminator
from srgan_dist.models.files import load_generator, save_generator
from srgan_dist.runs import checkpoint

UNET = UNetDiscriminatorConfig(channels=4)


def randomized(config: UNetDiscriminatorConfig | VGGDiscriminatorConfig, hr_crop: int = 16) -> nn.Module:
    torch.manual_seed(3)
    network = config.build(hr_crop)
    network(torch.rand(2, 3, hr_crop, hr_crop))  # spectral normalization changes its vectors in every forward pass
    return network


def scores(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("config", [UNET, VGGDiscriminatorConfig(channels=2, dense=4)])
def test_a_saved_discriminator_scores_alike_after_loading(config, tmp_path: Path):
    network, again = randomized(config), config.build(16)
    save_discriminator(tmp_path / "d.safetensors", network.state_dict(), config, 16)

    load_discriminator_weights(again, tmp_path / "d.safetensors")

    assert torch.equal(scores(again), scores(network))


def test_a_published_discriminator_and_that_of_a_checkpoint_and_of_a_run_are_loaded(tmp_path: Path):
    network, run = randomized(UNET), tmp_path / "run"
    torch.save({"params": network.state_dict()}, tmp_path / "netD.pth")
    networks = [{"network": {}}, {"network": network.state_dict()}]
    checkpoint.save(run / "checkpoints", 5, {"networks": {"networks": networks}, "step": 5, "phase": 1}, 2, None)

    for source in (tmp_path / "netD.pth", run / "checkpoints" / "step-00000005", run):
        again = UNET.build(16)
        load_discriminator_weights(again, source)
        assert torch.equal(scores(again), scores(network)), source


def test_a_run_gives_its_exported_discriminator_and_still_opens_as_its_generator(tmp_path: Path):
    network, models = randomized(UNET), tmp_path / "run" / "models"
    save_discriminator(models / "srgan-discriminator.safetensors", network.state_dict(), UNET, 16)
    config = SRResNetConfig(blocks=1, channels=4)
    notes = {"label": "SRGAN", "scale": 2, "degradation": "matlab-mirror"}
    save_generator(models / "srgan.safetensors", config.build(2), config, notes)
    again = UNET.build(16)

    load_discriminator_weights(again, tmp_path / "run")

    assert torch.equal(scores(again), scores(network))
    assert load_generator(tmp_path / "run").label == "SRGAN"
    with pytest.raises(ValueError, match="a U-Net discriminator"):
        load_generator(models / "srgan-discriminator.safetensors")


def test_another_discriminator_is_refused_with_what_it_is(tmp_path: Path):
    save_discriminator(tmp_path / "d.safetensors", randomized(UNET).state_dict(), UNET, 16)

    with pytest.raises(ValueError, match=r"d.safetensors: .*VGGDiscriminator .*a U-Net discriminator"):
        load_discriminator_weights(VGGDiscriminatorConfig(channels=2, dense=4).build(16), tmp_path / "d.safetensors")
    with pytest.raises(ValueError, match=r"nowhere: there is no such file"):
        load_discriminator_weights(UNET.build(16), tmp_path / "nowhere")


def test_a_checkpoint_of_pretraining_has_no_discriminator(tmp_path: Path):
    state = {"networks": {"networks": [{"network": {}}]}, "step": 5, "phase": 0}
    checkpoint.save(tmp_path / "checkpoints", 5, state, 2, None)
    (tmp_path / "config.json").write_text(json.dumps({}))

    with pytest.raises(ValueError, match="from the pretraining phase"):
        load_discriminator_weights(UNET.build(16), tmp_path / "checkpoints" / "step-00000005")
