import pytest
import torch

from srgan_dist.models import (
    CompactConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LightEDSRConfig,
    RRDBNetConfig,
    SpandrelConfig,
    SRResNetConfig,
    UNetDiscriminatorConfig,
    VGGDiscriminatorConfig,
)
from srgan_dist.utils.serialization import from_dict, to_dict
from srgan_dist.utils.unions import members, tag

SMALL = {
    SRResNetConfig: ({"blocks": 1, "channels": 8}, (2, 3, 4, 8)),
    RRDBNetConfig: ({"blocks": 1, "channels": 8, "growth_channels": 4}, (1, 2, 4, 8)),
    CompactConfig: ({"convs": 1, "channels": 8}, (1, 2, 3, 4)),
    LightEDSRConfig: ({"blocks": 1, "channels": 8}, (1, 2, 3, 4)),
}
OWN = [kind for kind in members(GeneratorConfig) if kind is not SpandrelConfig]
CASES = [(kind, scale) for kind in OWN for scale in SMALL[kind][1]]


def small(kind, scale):
    torch.manual_seed(0)
    return kind(**SMALL[kind][0]).build(scale)


@pytest.mark.parametrize(("kind", "scale"), CASES)
def test_every_generator_upscales_any_size_by_its_scale_and_keeps_rgb(kind, scale):
    network = small(kind, scale).eval()

    sr = network(torch.rand(2, 3, 9, 14))

    assert sr.shape == (2, 3, 9 * scale, 14 * scale)
    assert sr.dtype == torch.float32


@pytest.mark.parametrize("kind", OWN)
def test_every_parameter_of_every_generator_is_trained(kind):
    network = small(kind, 4)

    network(torch.rand(2, 3, 8, 8)).square().mean().backward()

    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", members(GeneratorConfig))
def test_every_generator_config_survives_the_config_file_as_the_class_it_is(kind):
    config = SpandrelConfig(file="some.pth") if kind is SpandrelConfig else kind(**SMALL[kind][0])

    saved = to_dict(config, GeneratorConfig)

    assert saved["type"] == tag(kind)
    assert from_dict(GeneratorConfig, saved) == from_dict(GeneratorConfig, to_dict(config, GeneratorConfig))
    assert type(from_dict(GeneratorConfig, saved)) is kind


def test_rrdbnet_has_as_many_parameters_as_the_paper_says():
    network = RRDBNetConfig().build(4)

    assert sum(p.numel() for p in network.parameters()) == 16_697_987


def test_dense_blocks_start_at_a_tenth_of_kaiming():
    torch.manual_seed(0)
    network = RRDBNetConfig(blocks=1).build(4)

    for number in range(1, 6):
        conv = network.get_submodule(f"body.0.rdb1.conv{number}")
        kaiming = (2 / (conv.in_channels * 9)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(0.1 * kaiming, rel=0.05)
        assert not conv.bias.any()


@pytest.mark.parametrize("scale", [1, 2])
def test_unshuffled_rrdbnet_works_at_a_fraction_of_the_size(scale):
    config = RRDBNetConfig(blocks=1, channels=8, growth_channels=4, unshuffle=True)
    network = config.build(scale)
    inner = {}
    network.conv_body.register_forward_hook(lambda m, i, out: inner.update(shape=out.shape))

    sr = network(torch.rand(1, 3, 13, 10))

    assert sr.shape == (1, 3, 13 * scale, 10 * scale)
    assert inner["shape"][2:] == (-(-13 * scale // 4), -(-10 * scale // 4))


@pytest.mark.parametrize(
    ("kind", "options", "scale"), [(RRDBNetConfig, {}, 3), (RRDBNetConfig, {"unshuffle": True}, 4)]
)
def test_a_scale_that_a_generator_does_not_have_is_refused_by_name(kind, options, scale):
    with pytest.raises(ValueError, match=f"scale={scale} is not supported by RRDBNet"):
        kind(**options).build(scale)


@pytest.mark.parametrize("kind", members(DiscriminatorConfig))
@pytest.mark.parametrize("crop", [24, 40])
def test_every_discriminator_judges_every_crop_size_and_trains_all_its_parameters(kind, crop):
    network = kind(channels=4, **({"dense": 8} if kind is VGGDiscriminatorConfig else {})).build(crop)

    logits = network(torch.rand(2, 3, crop, crop))
    logits.mean().backward()

    assert logits.shape[0] == 2
    assert all(p.grad is not None for p in network.parameters())


def test_the_unet_judges_every_pixel_and_its_convolutions_have_norm_one():
    network = UNetDiscriminatorConfig(channels=4).build(32)
    for _ in range(20):  # power iterations
        logits = network(torch.rand(1, 3, 8, 8))

    assert logits.shape == (1, 1, 8, 8)
    weight = network.conv5.weight.detach().flatten(1)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.03)


def test_the_unet_refuses_crops_that_it_cannot_halve_three_times():
    with pytest.raises(ValueError, match="hr_crop=36 must be a multiple of 8"):
        UNetDiscriminatorConfig().build(36)


def _trained_once(recompute: bool, scale: int, unshuffle: bool):
    torch.manual_seed(0)
    config = RRDBNetConfig(blocks=4, channels=16, growth_channels=8, unshuffle=unshuffle, recompute=recompute)
    network, held = config.build(scale), [0]

    def count(tensor):
        held[0] += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        sr = network(torch.rand(2, 3, 16, 12))
    sr.square().mean().backward()
    return sr.detach(), {name: p.grad for name, p in network.named_parameters()}, held[0]


@pytest.mark.parametrize(("scale", "unshuffle"), [(4, False), (2, True)])
def test_recomputing_blocks_changes_memory_alone_not_one_bit_of_outputs_or_gradients(scale, unshuffle):
    sr, gradients, held = _trained_once(False, scale, unshuffle)

    again, theirs, less = _trained_once(True, scale, unshuffle)

    assert torch.equal(again, sr)
    assert gradients.keys() == theirs.keys()
    assert all(torch.equal(theirs[name], gradient) for name, gradient in gradients.items())
    assert less < held / 2


def test_recomputing_is_for_training_alone(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("recomputed without a backward pass to come")

    monkeypatch.setattr("srgan_dist.models.rrdbnet.checkpoint", never)
    network = RRDBNetConfig(blocks=1, channels=8, growth_channels=4, recompute=True).build(4)
    lr = torch.rand(1, 3, 8, 8)

    with torch.no_grad():
        network(lr)
    network.eval()(lr)
    with pytest.raises(AssertionError, match="recomputed"):
        network.train()(lr)
