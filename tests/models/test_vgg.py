from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import vgg19

from srgan_dist.models.vgg import LAYER_INDEX, VGG19Features, load_vgg19


@pytest.fixture(scope="module")
def vgg() -> nn.Sequential:
    """torchvision's own layers, at random: their order is what counts here."""
    torch.manual_seed(0)
    return vgg19().features


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "convolutions", "poolings", "channels"), [("relu2_2", 4, 1, 128), ("relu5_4", 16, 4, 512)]
)
def test_the_layer_is_the_one_of_that_name(
    vgg: nn.Sequential, layer: str, convolutions: int, poolings: int, channels: int
):
    kept = list(VGG19Features(vgg, [layer]).features)

    assert sum(isinstance(m, nn.Conv2d) for m in kept) == convolutions
    assert sum(isinstance(m, nn.MaxPool2d) for m in kept) == poolings
    assert isinstance(kept[-1], nn.ReLU)
    assert kept[-2].out_channels == channels
    assert len(kept) == LAYER_INDEX[layer] + 1


def test_the_network_is_frozen_and_stays_so(vgg: nn.Sequential):
    features = VGG19Features(vgg, ["relu2_2"])

    assert not features.training
    assert not any(p.requires_grad for p in features.parameters())


def test_images_are_normalized_as_imagenet_was():
    gray = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    features = VGG19Features(nn.Sequential(*(nn.Identity() for _ in range(9))), ["relu2_2"])

    torch.testing.assert_close(features(gray)[0], torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(features(gray + 0.229)[0][0, 0], torch.ones(8, 8))


def test_weights_come_from_a_named_file(vgg: nn.Sequential, tmp_path: Path):
    file = tmp_path / "vgg19.pth"
    torch.save({f"features.{k}": v for k, v in vgg.state_dict().items()}, file)

    loaded = load_vgg19(["relu2_2"], file)

    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded(images)[0], VGG19Features(vgg, ["relu2_2"])(images)[0])


def test_weights_come_from_torchs_cache(vgg: nn.Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "torch.hub.load_state_dict_from_url", lambda *_, **__: {f"features.{k}": v for k, v in vgg.state_dict().items()}
    )
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", torch.hub.load_state_dict_from_url)

    assert torch.equal(load_vgg19(["relu2_2"]).features[0].weight, vgg[0].weight)


def test_without_network_and_file_the_error_names_both_cures_and_the_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there

    with pytest.raises(ValueError, match="downloaded") as error:
        load_vgg19(["relu5_4"])

    for cure in ("checkpoints", "--loss.content.weights", "srresnet-x4", "srgan-mse-x4", "quickstart"):
        assert cure in str(error.value)


@pytest.mark.parametrize("content", [b"not torch", None])
def test_a_wrong_weights_file_is_named(content: bytes | None, tmp_path: Path):
    file = tmp_path / "weights.pth"
    if content:
        file.write_bytes(content)

    with pytest.raises(ValueError, match=str(file)):
        load_vgg19(["relu2_2"], file)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    file = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), file)

    with pytest.raises(ValueError, match="does not contain VGG19"):
        load_vgg19(["relu2_2"], file)
