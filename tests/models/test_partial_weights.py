import pytest
import torch

from srgan_dist.models import CompactConfig, RRDBNetConfig, SRResNetConfig
from srgan_dist.models.files import load_weights
from srgan_dist.models.partial_weights import load_matching

SMALL = RRDBNetConfig(blocks=1, channels=8, growth_channels=4)


def test_what_fits_is_taken_and_everything_else_is_listed():
    given = RRDBNetConfig(blocks=2, channels=8, growth_channels=4).build(4).state_dict()
    given["conv_last.weight"] = torch.zeros(1, 8, 3, 3)
    network = SMALL.build(8)
    before = {k: v.clone() for k, v in network.state_dict().items()}

    report = load_matching(network, given, "x4.pth")

    after = network.state_dict()
    assert torch.equal(after["body.0.rdb1.conv1.weight"], given["body.0.rdb1.conv1.weight"])
    assert torch.equal(after["conv_up3.weight"], before["conv_up3.weight"])
    assert torch.equal(after["conv_last.weight"], before["conv_last.weight"])
    taken = sum(k in given and given[k].shape == v.shape for k, v in after.items())
    for line in (
        f"x4.pth: {taken} of {len(after)} tensors of RRDBNet were loaded",
        "loaded: conv_first (2), body (30), conv_body (2), conv_up1 (2)",
        "not in the file, newly initialized: conv_up3.weight, conv_up3.bias",
        "of another shape, newly initialized: conv_last.weight (1, 8, 3, 3) for (3, 8, 3, 3)",
        "not in the network, ignored: body.1.rdb1.conv1.weight",
        "and 18 more",
    ):
        assert line in report


def test_weights_of_which_nothing_fits_are_refused():
    given = SRResNetConfig(blocks=1, channels=4).build(2).state_dict()

    with pytest.raises(ValueError, match=r"none of its .* tensors"):
        load_matching(CompactConfig(convs=1, channels=8).build(2), given, "other.pth")


def test_weights_are_taken_in_part_only_on_request(tmp_path):
    torch.save({"params_ema": SMALL.build(4).state_dict()}, tmp_path / "x4.pth")
    network = SMALL.build(8)

    with pytest.raises(ValueError, match="conv_up3"):
        load_weights(network, tmp_path / "x4.pth")
    load_weights(network, tmp_path / "x4.pth", partial=True)


def test_the_message_names_the_flags_of_the_network_in_the_file_with_its_pixel_unshuffle(tmp_path):
    x2plus = RRDBNetConfig(blocks=2, channels=16, unshuffle=True)
    torch.save({"params_ema": x2plus.build(2).state_dict()}, tmp_path / "x2plus.pth")

    with pytest.raises(ValueError, match="conv_first") as error:
        load_weights(RRDBNetConfig(blocks=2, channels=16).build(2), tmp_path / "x2plus.pth")

    flags = "--scale 2 --generator.type rrdbnet --generator.blocks 2 --generator.channels 16 --generator.unshuffle True"
    assert flags in str(error.value)
