from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import vgg16, vgg19

from srgan_dist.models.vgg import LAYER_INDEX, VGGFeatures, load_vgg
from tests.conftest import SHARED


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
    kept = list(VGGFeatures(vgg, [layer]).features)

    assert sum(isinstance(m, nn.Conv2d) for m in kept) == convolutions
    assert sum(isinstance(m, nn.MaxPool2d) for m in kept) == poolings
    assert isinstance(kept[-1], nn.ReLU)
    assert kept[-2].out_channels == channels
    assert len(kept) == LAYER_INDEX["vgg19"][layer] + 1


def test_the_network_is_frozen_and_stays_so(vgg: nn.Sequential):
    features = VGGFeatures(vgg, ["relu2_2"])

    assert not features.training
    assert not any(p.requires_grad for p in features.parameters())


def test_images_are_normalized_as_imagenet_was():
    gray = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    features = VGGFeatures(nn.Sequential(*(nn.Identity() for _ in range(9))), ["relu2_2"])

    torch.testing.assert_close(features(gray)[0], torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(features(gray + 0.229)[0][0, 0], torch.ones(8, 8))


def test_weights_come_from_a_named_file(vgg: nn.Sequential, tmp_path: Path):
    file = tmp_path / "vgg19.pth"
    torch.save({f"features.{k}": v for k, v in vgg.state_dict().items()}, file)

    loaded = load_vgg("vgg19", ["relu2_2"], file)

    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded(images)[0], VGGFeatures(vgg, ["relu2_2"])(images)[0])


def test_weights_come_from_torchs_cache(vgg: nn.Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "torch.hub.load_state_dict_from_url", lambda *_, **__: {f"features.{k}": v for k, v in vgg.state_dict().items()}
    )
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", torch.hub.load_state_dict_from_url)

    assert torch.equal(load_vgg("vgg19", ["relu2_2"]).features[0].weight, vgg[0].weight)


def test_without_network_and_file_the_error_names_both_cures_and_the_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there

    with pytest.raises(ValueError, match="downloaded") as error:
        load_vgg("vgg19", ["relu5_4"])

    ways = ("checkpoints", "--loss.content.weights", "--loss.content.network vgg16", "--loss.content.type none")
    for cure in (*ways, "srresnet-x4", "srgan-mse-x4", "quickstart"):
        assert cure in str(error.value)


@pytest.mark.parametrize("content", [b"not torch", None])
def test_a_wrong_weights_file_is_named(content: bytes | None, tmp_path: Path):
    file = tmp_path / "weights.pth"
    if content:
        file.write_bytes(content)

    with pytest.raises(ValueError, match=str(file)):
        load_vgg("vgg19", ["relu2_2"], file)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    file = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), file)

    with pytest.raises(ValueError, match="does not contain VGG19"):
        load_vgg("vgg19", ["relu2_2"], file)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": {f"features.{k}": v for k, v in state.items()}},
        lambda state: {"params": state},
        lambda state: {"model": {f"module.vgg.features.{k}": v for k, v in state.items()}},
        lambda state: {k: v.half() for k, v in state.items()},
        lambda state: {f"features.{k}": v.bfloat16() for k, v in state.items()},
        lambda state: {"vgg_net.conv1_1.weight": state["0.weight"], "vgg_net.conv1_1.bias": state["0.bias"]},
    ],
)
def test_wrapped_prefixed_and_half_precision_files_are_read_as_float32(vgg: nn.Sequential, tmp_path: Path, wrap):
    file = tmp_path / "vgg19.pth"
    first = {k: v for k, v in vgg.state_dict().items() if k.startswith("0.")}
    torch.save(wrap(first), file)

    loaded = load_vgg("vgg19", ["conv1_1"], file)

    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    images = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(loaded(images)[0], VGGFeatures(vgg, ["conv1_1"])(images)[0], rtol=0, atol=2e-2)


def test_vgg16_has_the_layers_and_names_of_torchvision(tmp_path: Path):
    with torch.device("meta"):
        features = vgg16().features
    state = {f"features.{k}": torch.zeros(v.shape) for k, v in features.state_dict().items()}
    save_file(state, tmp_path / "vgg16.safetensors")

    loaded = load_vgg("vgg16", ["relu4_3", "pool5"], tmp_path / "vgg16.safetensors")

    assert [repr(m) for m in loaded.features if not isinstance(m, nn.ReLU)] == [
        repr(m) for m in features if not isinstance(m, nn.ReLU)
    ]
    maps = loaded(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape) for m in maps] == [(1, 512, 4, 4), (1, 512, 1, 1)]
    with pytest.raises(ValueError, match=r"contains VGG16, not VGG19; set --loss.content.network vgg16"):
        load_vgg("vgg19", ["relu2_2"], tmp_path / "vgg16.safetensors")


def test_a_layer_that_vgg16_lacks_is_refused_with_the_last_one_of_its_block():
    with pytest.raises(ValueError, match=r"VGG16 has no layer conv5_4.*--loss.content.layers conv5_3 1.0"):
        load_vgg("vgg16", ["conv5_4"])


def test_weights_that_are_not_finite_or_of_another_shape_are_refused(vgg: nn.Sequential, tmp_path: Path):
    file, state = tmp_path / "vgg.pth", {k: v.clone() for k, v in vgg.state_dict().items() if k.startswith("0.")}
    state["0.bias"][3] = torch.nan
    torch.save(state, file)
    with pytest.raises(ValueError, match=r"features.0.bias contains NaN or infinity"):
        load_vgg("vgg19", ["conv1_1"], file)

    torch.save(state | {"0.bias": torch.zeros(32)}, file)
    with pytest.raises(ValueError, match=r"features.0.bias has shape \(32,\), expected \(64,\)"):
        load_vgg("vgg19", ["conv1_1"], file)

    torch.save(state | {"1.running_mean": torch.zeros(64)}, file)
    with pytest.raises(ValueError, match="BatchNorm"):
        load_vgg("vgg19", ["conv1_1"], file)


def test_the_half_precision_stand_in_for_vgg19_is_cast():
    file = SHARED.parent / "weights" / "vgg16_in_vgg19_layout.fp16.safetensors"
    if not file.is_file():
        pytest.skip("no VGG weights beside the checkout")

    features = load_vgg("vgg19", ["conv4_4"], file)(torch.rand(1, 3, 32, 32))

    assert features[0].dtype == torch.float32
    assert features[0].isfinite().all()
