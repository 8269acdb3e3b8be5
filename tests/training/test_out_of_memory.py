import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from srgan_dist.cli.app import COMMANDS
from srgan_dist.cli.parsing import parse
from srgan_dist.models import RRDBNetConfig
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.out_of_memory import Work, explain_out_of_memory
from srgan_dist.training.presets import preset


def message(config: TrainConfig, work: Work) -> str:
    with pytest.raises(ValueError, match="the device ran out of memory") as caught, explain_out_of_memory(config, work):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nsecond line")
    return str(caught.value)


def test_each_kind_of_work_has_its_own_advice_and_the_errors_first_line():
    said = {work: message(preset("srgan-x4"), work) for work in get_args(Work)}

    assert "--data.batch" in said["training"]
    assert "--validation.side 256" in said["validation"]
    assert "srgan evaluate" in said["evaluation"]
    assert all(text.endswith("(CUDA out of memory. Tried to allocate 2.00 GiB)") for text in said.values())


@pytest.mark.parametrize("work", ["training", "validation"])
def test_flags_that_are_named_exist(work: Work):
    for config in (preset("srgan-x4"), replace(preset("esrgan-x4"), generator=RRDBNetConfig())):
        flags = re.findall(r"--[\w.-]*\w", message(config, work))
        assert flags
        for flag in flags:
            value = {"--mixed-precision": "bf16", "--generator.recompute": "True", "--data.hr-crop": "64"}.get(
                flag, "8"
            )
            parse(TrainConfig, [f"{flag}={value}"], "train.py", config)


@pytest.mark.parametrize(
    ("batch", "way"), [(16, "--data.batch 8 --accumulate 2"), (9, "--data.batch 3 --accumulate 3")]
)
def test_a_batch_is_divided_by_what_divides_it(batch: int, way: str):
    config = preset("srgan-x4")

    assert way in message(replace(config, data=replace(config.data, batch=batch)), "training")


def test_where_nothing_helps_nothing_is_advised():
    config = preset("srgan-x4")

    said = message(replace(config, data=replace(config.data, batch=1)), "training")

    assert "same command" not in said
    assert "--" not in said


def test_the_evaluation_that_is_advised_parses(tmp_path: Path):
    config = replace(preset("srgan-x4"), run_dir=tmp_path)
    advice = message(config, "evaluation").split("CUDA_VISIBLE_DEVICES= ")[1].rsplit(" (", 1)[0]

    program, command, *args = shlex.split(advice)

    assert program == "srgan"
    assert command in COMMANDS
    assert args == ["--data", "shards/div2k-x4", "--models", f"{tmp_path}/models/*"]
