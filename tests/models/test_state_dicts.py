import pytest
import torch

from srgan_dist.models import CompactConfig, LightEDSRConfig, RRDBNetConfig, SRResNetConfig, UNetDiscriminatorConfig
from srgan_dist.models.state_dicts import describe, identify, load_compatible_state_dict, renamed, unwrapped

CONFIG = RRDBNetConfig(blocks=2, channels=8, growth_channels=4)


def first_public(key: str) -> str:
    """The names of ESRGAN's first public code, written down by hand from its newest ones."""
    for new, old in (("conv_body.", "trunk_conv."), ("conv_up", "upconv"), ("conv_hr.", "HRconv.")):
        key = key.replace(new, old)
    if key.startswith("body."):
        key = key.replace("body.", "RRDB_trunk.", 1).replace("rdb", "RDB")
    return key


def old(key: str, blocks: int, ups: int) -> str:
    """The flat layout before it: model.0 first, model.1 trunk, three places per doubling."""
    kind = key.rsplit(".", 1)[1]
    flat = {
        "conv_first": "0",
        "conv_body": f"1.sub.{blocks}",
        "conv_hr": str(3 * ups + 2),
        "conv_last": str(3 * ups + 4),
    }
    flat |= {f"conv_up{n}": str(3 * n) for n in range(1, ups + 1)}
    name = key.rsplit(".", 1)[0]
    if name in flat:
        return f"model.{flat[name]}.{kind}"
    _, block, dense, conv = name.split(".")
    return f"model.1.sub.{block}.{dense.upper()}.{conv}.0.{kind}"


LAYOUTS = {
    "newest": lambda k, ups: k,
    "first public": lambda k, ups: first_public(k),
    "old": lambda k, ups: old(k, 2, ups),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("scale", "ups"), [(1, 0), (2, 1), (4, 2), (8, 3)])
def test_rrdbnet_loads_from_every_published_layout_at_every_scale(layout, scale, ups):
    source, target = CONFIG.build(scale), CONFIG.build(scale)
    state = {LAYOUTS[layout](k, ups): v for k, v in source.state_dict().items()}
    lr = torch.rand(1, 3, 6, 7)

    load_compatible_state_dict(target, state, "file.pth")

    assert torch.equal(target(lr), source(lr))
    found = identify(renamed(state))
    assert found is not None
    assert (found.config, found.scale) == (CONFIG, scale)


def test_the_three_layouts_are_really_three():
    keys = list(CONFIG.build(4).state_dict())

    assert old(keys[0], 2, 2) == "model.0.weight"
    assert {"model.1.sub.2.bias", "model.3.weight", "model.6.weight", "model.8.bias", "model.10.bias"} <= {
        old(k, 2, 2) for k in keys
    }
    assert {"RRDB_trunk.1.RDB3.conv5.weight", "trunk_conv.bias", "upconv2.weight", "HRconv.weight"} <= {
        first_public(k) for k in keys
    }


@pytest.mark.parametrize("wrapper", ["params_ema", "params", "state_dict"])
def test_wrappers_and_prefixes_of_training_programs_are_taken_off(wrapper):
    state = CompactConfig(convs=1, channels=4).build(2).state_dict()

    content = {wrapper: {f"module.{k}": v for k, v in state.items()}, "iteration": 5}

    assert unwrapped(content).keys() == state.keys()


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        (CompactConfig(convs=3, channels=8), 2),
        (CompactConfig(convs=3, channels=8), 1),
        (LightEDSRConfig(blocks=3, channels=8), 4),
        (SRResNetConfig(blocks=3, channels=8), 4),
        (SRResNetConfig(blocks=3, channels=8, batch_norm=False), 4),
        (SRResNetConfig(blocks=3, channels=8, interpolated_skip=True), 3),
        (RRDBNetConfig(blocks=1, channels=8, unshuffle=True), 1),
        (RRDBNetConfig(blocks=1, channels=8, unshuffle=True), 2),
    ],
)
def test_weights_alone_tell_which_network_they_are(config, scale):
    found = identify(config.build(scale).state_dict())

    assert found is not None
    assert (found.config, found.scale) == (config, scale)


def test_a_wrong_file_is_described_and_what_is_missing_is_named():
    network = SRResNetConfig(blocks=1, channels=8).build(4)

    with pytest.raises(
        ValueError, match=r"missing: head.0.weight.*appears to contain RRDBNet x4 with 2 blocks of 8 \+ 4"
    ):
        load_compatible_state_dict(network, CONFIG.build(4).state_dict(), "esrgan.pth")


def test_the_right_kind_in_the_wrong_size_is_refused_with_both_sizes():
    network = CompactConfig(convs=1, channels=8).build(4)

    with pytest.raises(
        ValueError, match=r"body.0.weight has shape \(4, 3, 3, 3\), expected \(8, 3, 3, 3\).*4 channels"
    ):
        load_compatible_state_dict(network, CompactConfig(convs=1, channels=4).build(4).state_dict(), "small.pth")


def test_a_discriminator_and_a_stranger_are_called_what_they_are():
    assert describe(UNetDiscriminatorConfig(channels=4).build(32).state_dict()) == "a U-Net discriminator"
    assert "1 parameters of an unknown network (a.b" in describe({"a.b": torch.zeros(1)})


def test_a_parameter_that_the_network_does_not_have_is_named():
    network = CompactConfig(convs=1, channels=8).build(2)
    state = network.state_dict() | {"body.9.weight": torch.zeros(1)}

    with pytest.raises(ValueError, match=r"a.pth: .*unknown: body\.9\.weight"):
        load_compatible_state_dict(network, state, "a.pth")
