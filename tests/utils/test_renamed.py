import json
from pathlib import Path
from typing import Any

import pytest
import torch

from srgan_dist.cli.parsing import parse
from srgan_dist.cli.shards import PushOptions
from srgan_dist.evaluation.curves import read_curves
from srgan_dist.runs import checkpoint
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.tracking.state import FILE, read_tracking_state
from srgan_dist.training.config import TrainConfig, read_config
from srgan_dist.training.presets import preset
from srgan_dist.training.reports.meter import Meter
from srgan_dist.utils.files import write_json
from srgan_dist.utils.renamed import RENAMED, with_current_names
from srgan_dist.utils.serialization import flatten, to_dict

FIELDS: dict[str, tuple[Any, list[str]]] = {
    "betas": ([0.5, 0.9], ["0.5", "0.9"]),
    "probe_every": (7, ["7"]),
    "data.rounds": (3, ["3"]),
    "data.held": (5, ["5"]),
    "degradation.grey_probability": (0.25, ["0.25"]),
    "degradation.blur.generalised_beta": ([1.0, 2.0], ["1.0", "2.0"]),
}
OTHERS = {"licence", "colour_drift", "players", "networks.players", "pictures"}
METRICS = [name for name in RENAMED if "/" in name]


def test_every_entry_is_tested_here():
    assert RENAMED.keys() == FIELDS.keys() | set(METRICS) | OTHERS


def old_config(name: str, value: Any) -> dict[str, Any]:
    """A configuration as an earlier version wrote it: with the old name, and without the new one."""
    config = to_dict(preset("real-esrgan-x4"))
    *sections, last = RENAMED[name].split(".")
    owner = config
    for section in sections:
        owner = owner[section]
    del owner[last]
    *sections, last = name.split(".")
    owner = config
    for section in sections:
        owner = owner[section]
    return config if owner.update({last: value}) is None else {}


@pytest.mark.parametrize("name", FIELDS)
def test_an_old_configuration_opens_with_what_it_says(name: str, tmp_path: Path):
    value, _ = FIELDS[name]
    write_json(old_config(name, value), tmp_path / "config.json")

    flat = flatten(to_dict(read_config(tmp_path / "config.json")))

    assert list(flat[RENAMED[name]]) == value if isinstance(value, list) else flat[RENAMED[name]] == value
    assert name not in flat


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("name", FIELDS)
def test_an_old_flag_sets_the_field_of_today(name: str, joined: bool):
    value, words = FIELDS[name]
    flag = f"--{name.replace('_', '-')}"
    args = [f"{flag}={words[0]}", *words[1:]] if joined else [flag, *words]

    config = parse(
        TrainConfig, args if not joined or len(words) == 1 else [flag, *words], "x", preset("real-esrgan-x4")
    )

    found = flatten(to_dict(config))[RENAMED[name]]
    assert list(found) == value if isinstance(value, list) else found == value


def test_the_old_spelling_of_the_license_is_understood():
    options = parse(PushOptions, ["shards", "--to", "hf://datasets/a/b", "--licence", "mit"], "x")

    assert options.license == "mit"


@pytest.mark.parametrize("name", METRICS)
def test_a_resumed_curve_goes_on_under_one_name(name: str, tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(json.dumps({"step": 1, "time": 0.0, name: 2.0}) + "\n")
    assert read_curves(tmp_path) == {RENAMED[name]: [(1, 2.0)]}

    RunDir(tmp_path, {}, None, writes=True).truncate_metrics(5)

    assert json.loads(file.read_text()) == {"step": 1, "time": 0.0, RENAMED[name]: 2.0}


def test_unread_means_of_an_old_checkpoint_go_on_under_todays_names():
    from accelerate import Accelerator

    meter = Meter(Accelerator(cpu=True))

    meter.load_state_dict({"names": [["pixel", "colour_drift"]], "rows": [torch.tensor([[1.0, 2.0, 1.0, 1.0]])]})

    assert meter.read(1).keys() >= {"pixel", "color_drift"}


def test_the_networks_of_an_old_checkpoint_are_found(tmp_path: Path):
    content = {"step": 3, "players": {"players": [{"network": {}}], "ema": {"updates": 1}}}
    saved = checkpoint.save(tmp_path, 3, content, keep=1, best=None)

    loaded = checkpoint.load(saved)

    assert loaded == {"step": 3, "networks": {"networks": [{"network": {}}], "ema": {"updates": 1}}}


def test_the_images_that_an_old_run_has_sent_are_not_sent_again(tmp_path: Path):
    write_json({"tracking_uri": "sqlite:///a.db", "run_id": "r", "pictures": {"cat": 5}}, tmp_path / FILE)

    state = read_tracking_state(tmp_path)

    assert state is not None
    assert state.images == {"cat": 5}


def test_what_is_renamed_is_left_as_it_was():
    content = {"data": {"rounds": 3}}

    assert with_current_names(content) == {"data": {"crops_per_decode": 3}}
    assert content == {"data": {"rounds": 3}}
