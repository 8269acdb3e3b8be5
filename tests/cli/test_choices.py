import pytest

from srgan_dist.cli.choices import choose
from srgan_dist.cli.parsing import parse
from srgan_dist.data.degradations import RealESRGANDegradation
from srgan_dist.models import RRDBNetConfig, SpandrelConfig, UNetDiscriminatorConfig
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.losses import ContentConfig, RelativisticGAN
from srgan_dist.training.presets import PRESETS
from srgan_dist.utils.serialization import from_dict, to_dict
from srgan_dist.utils.usage import UsageError


def test_a_class_is_chosen_and_then_set_on_one_command_line():
    args = ["--generator.type", "rrdbnet", "--generator.blocks", "3", "--discriminator.type=unet"]

    config = parse(TrainConfig, args, "train.py", PRESETS["srgan-x4"])

    assert config.generator == RRDBNetConfig(blocks=3)
    assert config.discriminator == UNetDiscriminatorConfig()


def test_choices_reach_nested_fields_and_fields_that_may_be_none():
    args = [
        "--loss.adversarial.type",
        "relativistic",
        "--degradation.type",
        "realesrgan",
        "--loss.content.type",
        "none",
    ]

    config = parse(TrainConfig, args, "train.py", PRESETS["srgan-x4"])

    assert config.loss.adversarial == RelativisticGAN()
    assert config.degradation == RealESRGANDegradation()
    assert config.loss.content is None


def test_choosing_what_the_preset_has_keeps_the_presets_values():
    config, rest = choose(PRESETS["quickstart"], ["--generator.type", "srresnet", "--seed", "1"])

    assert config == PRESETS["quickstart"]
    assert rest == ["--seed", "1"]


@pytest.mark.parametrize("args", [["--generator.spandrel", "x.pth"], ["--generator.spandrel=x.pth"]])
def test_a_class_with_one_required_field_takes_it_at_once(args):
    config = parse(TrainConfig, args, "train.py", PRESETS["srgan-x4"])

    assert isinstance(config.generator, SpandrelConfig)
    assert str(config.generator.file) == "x.pth"


def test_values_with_dots_are_no_choices():
    args = ["--weights=a.type.pth", "--run-dir", "x.type", "--seed=1", "some.type"]

    assert choose(PRESETS["srgan-x4"], args) == (PRESETS["srgan-x4"], args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--generator.type", "rrdbent"], "did you mean rrdbnet"),
        (["--generator.type", "spandrel"], "needs file"),
        (["--generator.type"], "needs a value: srresnet"),
        (["--generator.type", "--seed", "1"], "needs a value: srresnet"),
    ],
)
def test_a_wrong_choice_is_wrong_usage_and_says_what_there_is(args, message):
    with pytest.raises(UsageError, match=message):
        parse(TrainConfig, args, "train.py", PRESETS["srgan-x4"])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_its_config_file(name):
    saved = to_dict(PRESETS[name])

    assert from_dict(TrainConfig, saved) == PRESETS[name]


def test_an_unknown_type_in_a_config_file_is_an_error_with_the_nearest():
    saved = to_dict(PRESETS["esrgan-x4"])
    saved["generator"]["type"] = "rrdb"

    with pytest.raises(ValueError, match="did you mean rrdbnet"):
        from_dict(TrainConfig, saved)


def test_a_config_file_without_type_means_the_unions_first_class():
    saved = to_dict(PRESETS["srgan-x4"])
    del saved["generator"]["type"]

    assert from_dict(TrainConfig, saved) == PRESETS["srgan-x4"]


def test_a_flag_of_the_only_class_gives_a_preset_without_content_one():
    args = ["--loss.content.network=vgg16", "--loss.content.layers", "conv4_3", "1.0"]

    config = parse(TrainConfig, args, "train.py", PRESETS["quickstart"])

    assert config.loss.content == ContentConfig(network="vgg16", layers=(("conv4_3", 1.0),))
    assert config.loss.vgg is not None
    config = parse(TrainConfig, ["--degradation.first.sigma", "0.5", "1"], "train.py", PRESETS["srgan-x4"])
    assert config.degradation is not None
    assert config.degradation.first.sigma == (0.5, 1.0)


def test_a_section_that_the_command_line_turns_off_stays_off():
    with pytest.raises(UsageError, match=r"--loss.content.network belongs to --loss.content.type content"):
        parse(TrainConfig, ["--loss.content.network=vgg16", "--loss.content.type=none"], "t", PRESETS["srgan-x4"])
