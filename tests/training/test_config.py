import json
from dataclasses import replace
from pathlib import Path

import pytest

from srgan_dist.cli.parsing import parse
from srgan_dist.data.config import DataConfig
from srgan_dist.training.config import TrainConfig, read_config
from srgan_dist.training.config_checks import check
from srgan_dist.training.presets import PRESETS, preset
from srgan_dist.utils.serialization import flatten, from_dict, to_dict
from srgan_dist.utils.usage import UsageError


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name: str):
    config = preset(name)

    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_yaml_is_read_like_json(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("scale: 2\ndata: {hr_crop: 64}\npretrain: {steps: 5, label: A, schedule: {type: cosine}}\n")

    config = read_config(file)

    assert (config.scale, config.data.hr_crop, config.pretrain.schedule.learning_rate) == (2, 64, 1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"scal": 2}, "unknown key 'scal' .*did you mean scale"),
        ({"data": {"hr_corp": 64}}, "unknown key 'hr_corp' .*did you mean hr_crop"),
        ({"data": {"hr_crop": "wide"}}, r"data\.hr_crop"),
    ],
)
def test_a_wrong_key_or_value_is_named(content: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        from_dict(TrainConfig, content)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere\.json"):
        read_config(tmp_path / "nowhere.json")


def test_a_crop_that_is_no_multiple_of_the_scale_names_both_and_the_next_ones():
    config = replace(TrainConfig(scale=4), data=DataConfig(hr_crop=97))

    with pytest.raises(ValueError, match=r"data\.hr_crop=97 must be a multiple of scale=4: 96 or 100"):
        check(config)


@pytest.mark.parametrize("field", ["scale", "log_every"])
def test_counts_below_one_are_refused(field: str):
    with pytest.raises(ValueError, match=f"{field}=0"):
        check(replace(TrainConfig(), **{field: 0}))


def test_flags_change_the_preset():
    config = parse(TrainConfig, ["--data.batch", "3", "--generator.blocks=2"], "train.py", preset("quickstart"))

    assert (config.data.batch, config.generator.blocks, config.data.hr_crop) == (3, 2, 64)


@pytest.mark.parametrize(("flag", "meant"), [("--data.bacth", "--data.batch"), ("--bacth", "--data.batch")])
def test_a_misspelt_flag_is_wrong_usage_with_the_nearest_name(flag: str, meant: str):
    with pytest.raises(UsageError, match=rf"did you mean {meant}\?"):
        parse(TrainConfig, [flag, "3"], "train.py", preset("quickstart"))


def test_flatten_gives_dotted_names():
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}


def test_patience_needs_a_number_to_wait_for():
    config = preset("quickstart")

    check(replace(config, validation=replace(config.validation, patience=3)))
    check(replace(config, validation=replace(config.validation, adversarial_patience=3)))
    impatient = replace(config.validation, adversarial_patience=3, adversarial_best_by="last")
    with pytest.raises(
        ValueError, match=r"validation\.adversarial_patience=3 needs .* validation\.adversarial_best_by"
    ):
        check(replace(config, validation=impatient))
    check(replace(config, validation=replace(impatient, adversarial_best_by="ssim_y")))
