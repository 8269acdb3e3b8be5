import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from srgan_dist.cli.app import main
from srgan_dist.cli.config import SCHEMA
from srgan_dist.training.config import TrainConfig, dump, read_config
from srgan_dist.training.preset_names import SUMMARIES
from srgan_dist.training.presets import PRESETS, preset
from srgan_dist.utils.settings.json_schema import json_schema

VALIDATOR = jsonschema.Draft7Validator(json_schema(TrainConfig, "x"))


def write_template(folder: Path, name: str = "srgan-x4", *flags: str) -> Path:
    file = folder / "my.yaml"
    assert main(["config", name, "--out", str(file), *flags]) == 0
    return file


def uncommented(text: str) -> str:
    """The template with every setting that is commented out set, as a user would: without its #."""
    lines = (re.sub(r"^( *)#(?=[^ ])", r"\1", line) for line in text.splitlines())
    return "\n".join(lines)


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_template_of_a_preset_is_the_preset(name: str, tmp_path: Path):
    file = write_template(tmp_path, name)

    expected = replace(preset(name), run_dir=Path("runs/my"))
    assert read_config(file) == expected
    assert read_config(file, preset(name)) == expected


@pytest.mark.parametrize("name", ["quickstart", "srgan-x4"])
def test_what_is_commented_out_are_the_defaults(name: str, tmp_path: Path):
    file = write_template(tmp_path, name, "--degradation.type", "realesrgan")
    expected = read_config(file)
    text = file.read_text()

    file.write_text(uncommented(text))

    assert uncommented(text).count("\n  every: ") == 2
    assert read_config(file) == expected


def test_every_setting_has_a_comment_above(tmp_path: Path):
    lines = [line.strip() for line in write_template(tmp_path, "real-esrgan-x4").read_text().splitlines()]

    bare = [
        line
        for above, line in pairwise(lines)
        if ": " in line and not line.startswith(("# ", "type:", "#  type:")) and not above.startswith("# ")
    ]
    assert not bare


def test_flags_are_written_into_the_file_and_the_run_has_the_files_name(tmp_path: Path):
    file = write_template(tmp_path, "quickstart", "--data.batch", "3", "--generator.type=compact")

    config = read_config(file)
    assert (config.data.batch, config.run_dir) == (3, Path("runs/my"))
    assert yaml.safe_load(file.read_text())["generator"]["type"] == "compact"


def test_a_file_is_not_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = write_template(tmp_path)
    file.write_text("scale: 4\n")

    assert main(["config", "srgan-x4", "--out", str(file)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert file.read_text() == "scale: 4\n"
    assert main(["config", "srgan-x4", "--out", str(file), "--overwrite"]) == 0


def test_editors_find_the_schema_beside_the_file(tmp_path: Path):
    first = write_template(tmp_path).read_text().splitlines()[0]

    assert first == f"# yaml-language-server: $schema={SCHEMA}"
    jsonschema.Draft7Validator.check_schema(json.loads((tmp_path / SCHEMA).read_text()))


@pytest.mark.parametrize("name", PRESETS)
def test_the_schema_accepts_every_preset_and_its_template(name: str, tmp_path: Path):
    VALIDATOR.validate(json.loads(dump(preset(name))))
    VALIDATOR.validate(yaml.safe_load(write_template(tmp_path, name).read_text()))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("section", ["", "data", "generator", "pretrain.schedule", "loss.weights"])
def test_the_schema_refuses_an_unknown_key(name: str, section: str):
    content = json.loads(dump(preset(name)))
    owner = content
    for part in section.split(".") if section else ():
        owner = owner[part]
    owner["bacth"] = 4

    assert not VALIDATOR.is_valid(content)


@pytest.mark.parametrize(
    "content",
    [
        {"data": {"batch": "many"}},
        {"loss": {"pixel": "l3"}},
        {"optimizer": {"betas": [0.9]}},
        {"generator": {"type": "vgg"}},
        {"generator": {"type": "srresnet", "growth_channels": 8}},
        {"data": {"shards": "shards/x"}},
    ],
    ids=str,
)
def test_the_schema_refuses_a_wrong_value_as_training_does(content: dict[str, Any], tmp_path: Path):
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump(content))

    assert not VALIDATOR.is_valid(content)
    with pytest.raises(ValueError, match=r"my.yaml, line [12]: "):
        read_config(file)


def test_a_file_needs_a_yaml_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["config", "srgan-x4", "--out", str(tmp_path / "my.txt")]) == 2
    assert "must end in .yaml" in capsys.readouterr().err


BROKEN = [
    ("data: [a\n", "line 2: not valid YAML: "),
    ("data:\n\tbatch: 3\n", "line 2: not valid YAML: found character '\\t'"),
    ("data: *x\n", "line 1: not valid YAML: found undefined alias 'x'"),
    ("data: \0\n", "not valid YAML: "),
    ("data:\n  batch: 3\n  batch: 4\n", "line 3: 'batch' has been set in this section before"),
]


@pytest.mark.parametrize(("content", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_file_that_is_not_yaml_is_answered_with_one_line(
    content: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "my.yaml"
    file.write_text(content)

    assert main(["train", "--config", str(file)]) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"error: --config {file}: {reason}")
    assert said.count("\n") == 1
    assert "\\n" not in said
