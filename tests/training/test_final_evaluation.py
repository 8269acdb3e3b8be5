from dataclasses import replace
from pathlib import Path

import pytest

from srgan_dist.cli.train import train_main
from srgan_dist.distributed.accelerator import start
from srgan_dist.evaluation.results import read_evaluation
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from srgan_dist.training.final_evaluation import open_models_early
from srgan_dist.training.presets import preset
from tests.conftest import TINY

CONFIG = SRResNetConfig(blocks=1, channels=8, interpolated_skip=True)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A network of the size that TINY trains, at x2."""
    file = tmp_path / "other.safetensors"
    save_generator(file, CONFIG.build(2), CONFIG, {"label": "other", "scale": 2, "degradation": "matlab-mirror"})
    return file


@pytest.mark.parametrize(
    ("scale", "network", "field", "message"),
    [
        (4, CONFIG, "compare_with", r"compare_with: .*other.safetensors is x2, but the run has scale=4"),
        (2, SRResNetConfig(blocks=2), "adversarial_weights", r"other.safetensors"),
    ],
)
def test_models_that_do_not_fit_are_refused_before_training(
    other: Path, scale: int, network: SRResNetConfig, field: str, message: str
):
    config = replace(preset("quickstart"), scale=scale, generator=network)
    value = (other,) if field == "compare_with" else other

    with pytest.raises(ValueError, match=message):
        open_models_early(replace(config, **{field: value}), start("no"))


def test_a_missing_model_ends_the_run_before_it_begins(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    code = train_main(["quickstart", f"--data.shards={shards}", *TINY, "--compare-with", "nowhere.pth"])

    assert code == 1
    assert "nowhere.pth: there is no such model file" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_shows_other_models_beside_its_own_and_starts_the_adversarial_phase_from_one(
    shards: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    flags = [f"--data.shards={shards}", *TINY, "--tracking.enabled=False", f"--compare-with={other}"]
    flags += ["--pretrain.steps=2", "--adversarial.steps=2", f"--adversarial-weights={other}"]
    still = ["--adversarial.schedule.learning-rate=1e-12"]

    assert train_main(["quickstart", *flags, *still]) == 0

    evaluation = read_evaluation(tmp_path / "runs" / "quickstart", 2)
    assert evaluation
    means = evaluation.means()
    assert list(means)[-3:] == ["SRResNet", "SRGAN", "other"]
    assert means["SRGAN"]["psnr_y"] == pytest.approx(means["other"]["psnr_y"], abs=1e-3)  # where it has started
    assert means["SRResNet"]["psnr_y"] != pytest.approx(means["other"]["psnr_y"], abs=1e-3)
