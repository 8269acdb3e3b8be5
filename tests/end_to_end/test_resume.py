"""A run that is interrupted and taken up again is the run that was not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srgan_dist.data.config import DataConfig
from srgan_dist.distributed.coordination import Skips, StopCoordinator, StopRequested
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.runs import checkpoint
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.presets import preset
from srgan_dist.training.trainer import train
from tests.conftest import PACE


@pytest.fixture
def tiny(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """Ten steps of each phase, everything logged, nothing tracked."""
    monkeypatch.chdir(tmp_path)
    config = preset("quickstart")
    return replace(
        config,
        run_dir=tmp_path / "whole",
        data=DataConfig(shards=(str(shards),), hr_crop=32, batch=2),
        generator=SRResNetConfig(blocks=1, channels=4, interpolated_skip=True),
        discriminator=VGGDiscriminatorConfig(channels=2, dense=4),
        pretrain=replace(config.pretrain, steps=10),
        adversarial=replace(config.adversarial, steps=10),
        validation=replace(config.validation, every=4, side=32),
        checkpoint=replace(config.checkpoint, every=1000),
        tracking=replace(config.tracking, enabled=False),
        log_every=3,
        threads=1,
        gradient_shares_every=5,
    )


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps at which somebody asks the run to stop."""
    wanted: list[int] = []
    decide = StopCoordinator.decide

    def decide_then_ask(self: StopCoordinator, step: int, skips: Skips) -> object:
        decision = decide(self, step, skips)
        return decision._replace(stop="test") if step in wanted else decision

    monkeypatch.setattr(StopCoordinator, "due", lambda *_: True)
    monkeypatch.setattr(StopCoordinator, "decide", decide_then_ask)
    return wanted


def state(run: Path) -> dict[str, object]:
    loaded = checkpoint.load_latest(run / "checkpoints")
    assert loaded is not None
    return loaded


def tensors(tree: object) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else []
    return [t for value in values for t in tensors(value)]


def metrics(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in PACE} for line in lines]


def interrupted(config: TrainConfig, stops: list[int], at: tuple[int, ...]) -> Path:
    for step in at:
        stops[:] = [step]
        with pytest.raises(StopRequested):
            train(config)
        assert json.loads((config.run_dir / "status.json").read_text())["state"] == "preempted"
        assert json.loads((config.run_dir / "status.json").read_text())["step"] == step
    stops.clear()
    train(config)
    return config.run_dir


@pytest.mark.slow
@pytest.mark.parametrize("at", [(2, 7), (5, 10), (9, 11), (13, 17)])
def test_interrupted_twice_equals_undisturbed_bit_for_bit(tiny: TrainConfig, stops: list[int], at: tuple[int, ...]):
    train(tiny)
    whole = tiny.run_dir

    broken = interrupted(replace(tiny, run_dir=whole.with_name("broken")), stops, at)

    ours, theirs = tensors(state(whole)), tensors(state(broken))
    assert len(ours) == len(theirs) > 50
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert metrics(whole) == metrics(broken)
    assert (whole / "evaluation.json").read_text() == (broken / "evaluation.json").read_text()


@pytest.mark.slow
def test_fine_tuning_that_is_interrupted_while_the_discriminator_learns_alone_equals_an_undisturbed_run(
    tiny: TrainConfig, stops: list[int]
):
    train(replace(tiny, adversarial=replace(tiny.adversarial, steps=0)))
    config = replace(
        tiny,
        run_dir=tiny.run_dir.with_name("finetuned"),
        weights=tiny.run_dir,
        pretrain=replace(tiny.pretrain, steps=0),
        discriminator_warmup=4,
        discriminator_rate=5.0,
        loss=replace(tiny.loss, weights=replace(tiny.loss.weights, artifact=100.0)),
    )
    train(config)

    broken = interrupted(replace(config, run_dir=tiny.run_dir.with_name("broken")), stops, (2, 6))

    ours, theirs = tensors(state(config.run_dir)), tensors(state(broken))
    assert len(ours) == len(theirs) > 50
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    rows = metrics(config.run_dir)
    assert rows == metrics(broken)
    assert [row["discriminator/alone"] for row in rows if "discriminator/alone" in row] == [
        1, pytest.approx(1 / 3), 0, 0
    ]  # fmt: skip
    assert "loss/generator/pixel" not in rows[0]


@pytest.mark.slow
def test_a_kill_costs_the_steps_since_the_checkpoint_and_nothing_else(
    tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    config = replace(tiny, checkpoint=replace(tiny.checkpoint, every=3))
    train(config)
    killed = replace(config, run_dir=config.run_dir.with_name("killed"))

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(StopCoordinator, "due", lambda _, step: step == 14)
        patch.setattr(StopCoordinator, "decide", die)
        with pytest.raises(Killed):
            train(killed)
    train(killed)

    assert metrics(config.run_dir) == metrics(killed.run_dir)
    pairs = zip(tensors(state(config.run_dir)), tensors(state(killed.run_dir)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(tiny: TrainConfig):
    train(tiny)
    before = (tiny.run_dir / "metrics.jsonl").read_text()

    train(tiny)

    assert (tiny.run_dir / "metrics.jsonl").read_text() == before


def test_the_second_phase_starts_from_what_the_first_one_is_evaluated_by(tiny: TrainConfig, stops: list[int]):
    stops[:] = [10]
    with pytest.raises(StopRequested):
        train(tiny)
    average = state(tiny.run_dir)["networks"]["ema"]["network"]
    still = replace(
        tiny, adversarial=replace(tiny.adversarial, schedule=replace(tiny.adversarial.schedule, learning_rate=0.0))
    )
    config_file = tiny.run_dir / "config.json"
    config_file.unlink()  # the learning rate is not a field that may change: this is surgery
    stops[:] = [11]

    with pytest.raises(StopRequested):
        train(still)

    weights = state(tiny.run_dir)["networks"]["networks"][0]["network"]
    assert all(torch.equal(weights[k], v) for k, v in average.items() if "running" not in k and "num_batches" not in k)


@pytest.mark.slow
def test_patience_ends_a_phase_early_and_the_next_one_follows(tiny: TrainConfig):
    frozen = replace(tiny.pretrain.schedule, learning_rate=0.0)  # nothing ever gets better than the first validation
    impatient = replace(
        tiny,
        log_every=5,
        pretrain=replace(tiny.pretrain, steps=1000, schedule=frozen),
        validation=replace(tiny.validation, patience=2),
    )

    train(impatient)

    assert state(tiny.run_dir)["phase_start"] == 12
    windows = [line["step"] for line in metrics(tiny.run_dir) if "loss/generator/pixel" in line]
    assert windows == [5, 10, 12, 15, 20, 22]  # that of the early end among them
    assert state(tiny.run_dir)["step"] == 22


def test_skipped_steps_stop_the_run_and_name_the_images(
    tiny: TrainConfig, stops: list[int], monkeypatch: pytest.MonkeyPatch
):
    from srgan_dist.training import steps

    monkeypatch.setattr(steps, "pixel_loss", lambda kind, sr, hr: (sr - hr).abs().mean() * float("nan"))

    with pytest.raises(ValueError, match=r"3 steps in a row .*checkpoints\. Crops \d+ to \d+ come from 0"):
        train(replace(tiny, max_skips=3, seed=1, run_dir=tiny.run_dir.with_name("nan")))

    status = json.loads((tiny.run_dir.with_name("nan") / "status.json").read_text())
    assert status["state"] == "failed"
    assert "in a row" in status["reason"]


@pytest.mark.slow
def test_a_few_skipped_steps_are_counted_and_survived(tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch):
    from srgan_dist.training import steps

    real, calls = steps.pixel_loss, iter(range(10**6))
    monkeypatch.setattr(
        steps, "pixel_loss", lambda kind, sr, hr: real(kind, sr, hr) * (float("nan") if next(calls) == 4 else 1.0)
    )

    train(tiny)

    found = metrics(tiny.run_dir)
    assert [line["steps/skipped"] for line in found if "steps/skipped" in line][1] == pytest.approx(1 / 3)
    assert all(t.isfinite().all() for t in tensors(state(tiny.run_dir)["networks"]))
    assert all(v == v for line in found for v in line.values())  # no NaN was logged
