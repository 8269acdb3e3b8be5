import copy
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from srgan_dist.data.batch import Pair
from srgan_dist.distributed.accelerator import start
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.models.files import save_generator
from srgan_dist.models.vgg import VGGFeatures
from srgan_dist.training import trainable
from srgan_dist.training.config import LossConfig
from srgan_dist.training.flops import MetaStep, step_flops
from srgan_dist.training.losses import ContentConfig, Weights
from srgan_dist.training.presets import preset
from srgan_dist.training.steps import Trainable


@pytest.mark.parametrize(
    ("name", "local_main", "reads"),
    [("srgan-x4", True, 1), ("srgan-x4", False, 0), ("srgan-mse-x4", True, 0), ("srresnet-x4", True, 0)],
)
def test_vgg_is_read_early_by_one_process_of_a_machine_and_only_where_it_is_needed(
    name: str, local_main: bool, reads: int, monkeypatch: pytest.MonkeyPatch
):
    read: list[Any] = []
    monkeypatch.setattr(trainable, "load_vgg", lambda *what: read.append(what))
    accelerator: Any = SimpleNamespace(is_local_main_process=local_main, local_main_process_first=nullcontext)

    trainable.load_vgg_early(preset(name), accelerator)

    assert len(read) == reads


def test_frozen_vgg_weights_are_kept_in_the_type_of_autocast_and_give_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    features = nn.Sequential(*(vgg19_like(n) for n in range(3)))
    images = torch.rand(2, 3, 16, 16)
    kept, cast = (VGGFeatures(copy.deepcopy(features), ["conv1_2"]) for _ in range(2))
    kept.keep_in(torch.bfloat16)

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(kept(images)[0], cast(images)[0])

    assert {p.dtype for p in kept.parameters()} == {torch.bfloat16}


def vgg19_like(number: int) -> nn.Module:
    torch.manual_seed(number)
    return nn.ReLU(inplace=True) if number == 1 else nn.Conv2d(3, 3, 3, padding=1)


def test_parameters_of_a_network_are_collected_once():
    net = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    trainable = Trainable(net=net, raw=net, optimizer=optimizer, optimizer_step=optimizer.step)

    assert trainable.parameters is trainable.parameters
    assert [id(p) for p in trainable.parameters] == [id(p) for p in net.parameters()]


class DropPath(nn.Module):
    """A generator that draws numbers of its own, as SwinIR and HAT do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return nn.functional.pixel_shuffle(self.conv(lr), 2) * (torch.rand(len(lr), 1, 1, 1) > 0.5)


def test_what_networks_draw_themselves_depends_on_the_seed_and_the_crops_alone(monkeypatch: pytest.MonkeyPatch):
    def losses(seed: int, first: int) -> list[float]:
        config = replace(preset("quickstart"), seed=seed)
        monkeypatch.setattr(type(config.generator), "build", lambda *_: DropPath())
        networks = trainable.Networks(config, start("no"))
        images = (torch.rand(8, 3, n, n, generator=torch.Generator().manual_seed(0)) for n in (8, 16))
        batch = Pair(*images, np.arange(first, first + 8, dtype=np.uint64))
        torch.manual_seed(first)  # whatever was drawn before
        torch.rand(first % 7)
        return [float(networks.update([batch], 0.0, measure_gradient_shares=False)[0]["pixel"]) for _ in range(2)]

    one = losses(seed=0, first=8)
    assert one[0] == one[1]
    assert losses(seed=0, first=8) == one
    assert losses(seed=0, first=16)[0] != one[0]
    assert losses(seed=1, first=8)[0] != one[0]


def small_networks(**changes: Any) -> trainable.Networks:
    config = preset("quickstart")
    config = replace(
        config,
        generator=SRResNetConfig(blocks=1, channels=4),
        discriminator=VGGDiscriminatorConfig(channels=2, dense=4),
        data=replace(config.data, hr_crop=16),
        **changes,
    )
    networks = trainable.Networks(config, start("no"))
    networks.start_adversarial()
    return networks


def test_the_adversarial_phase_starts_from_the_weights_that_are_named(tmp_path: Path):
    config = SRResNetConfig(blocks=1, channels=4)
    given = config.build(2)
    save_generator(
        tmp_path / "g.safetensors", given, config, {"label": "g", "scale": 2, "degradation": "matlab-mirror"}
    )

    networks = small_networks(adversarial_weights=tmp_path / "g.safetensors")

    for network in (networks.generator.raw, networks.ema.module):
        assert all(torch.equal(value, given.state_dict()[name]) for name, value in network.state_dict().items())


def small_batch() -> Pair:
    return Pair(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16), np.arange(2, dtype=np.uint64))


def state_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Everything but BatchNorm's counters, which nothing reads."""
    return {k: v.clone() for k, v in network.state_dict().items() if v.is_floating_point()}


def test_while_the_discriminator_learns_alone_the_generator_and_its_statistics_stay():
    networks = small_networks(discriminator_warmup=1)
    before = [state_of(n) for n in (networks.generator.raw, networks.ema.module, networks.discriminator.raw)]

    terms, skipped = networks.update([small_batch()], 1e-2, False, discriminator_alone=True)

    after = [state_of(n) for n in (networks.generator.raw, networks.ema.module, networks.discriminator.raw)]
    for old, new in zip(before[:2], after[:2], strict=True):
        assert all(torch.equal(value, new[name]) for name, value in old.items())
    assert not torch.equal(before[2]["features.0.weight"], after[2]["features.0.weight"])
    assert (float(terms["discriminator_alone"]), bool(skipped)) == (1.0, False)
    assert "generator_norm" not in terms
    assert networks.ema.updates == 0  # the average's decay starts with the generator
    terms, _ = networks.update([small_batch()], 1e-2, False)
    assert float(terms["discriminator_alone"]) == 0.0
    assert not torch.equal(before[0]["tail.weight"], state_of(networks.generator.raw)["tail.weight"])


def test_a_discriminator_that_learns_alone_skips_a_step_that_is_not_finite():
    networks = small_networks(discriminator_warmup=1)
    before, bad = state_of(networks.discriminator.raw), small_batch()
    bad.hr[0] = torch.nan

    _, skipped = networks.update([bad], 1e-2, False, discriminator_alone=True)

    assert bool(skipped)
    assert all(torch.equal(value, state_of(networks.discriminator.raw)[name]) for name, value in before.items())


def test_the_discriminator_may_have_a_learning_rate_of_its_own():
    networks = small_networks(discriminator_rate=10.0)

    networks.update([small_batch()], 1e-3, False)

    rates = [t.optimizer.param_groups[0]["lr"] for t in (networks.generator, networks.discriminator)]
    assert rates == pytest.approx([1e-3, 1e-2])


@pytest.mark.parametrize(
    ("pixel", "content", "kind", "expected"),
    [
        (0.0, 1.0, None, (1.0, 0.0)),  # SRGAN-MSE
        (0.5, 1.0, None, (0.5, 0.0)),
        (0.5, 1.0, ContentConfig(), (0.5, 1.0)),
        (0.0, 1.0, ContentConfig(), (0.0, 1.0)),
    ],
)
def test_without_content_the_pixel_term_is_the_content(
    pixel: float, content: float, kind: ContentConfig | None, expected: tuple[float, float]
):
    loss = LossConfig(content=kind, weights=Weights(pixel=pixel, content=content, adversarial=0.1))

    assert loss.effective_weights == Weights(pixel=expected[0], content=expected[1], adversarial=0.1)


def test_srgan_without_content_trains_on_the_losses_of_srgan_mse():
    losses = small_networks(loss=replace(preset("srgan-x4").loss, content=None))._losses

    assert losses.weights == preset("srgan-mse-x4").loss.weights
    assert losses.content is None


def test_artifacts_are_judged_by_the_moving_average_and_only_on_request():
    loss = replace(preset("srgan-x4").loss, content=None)
    assert small_networks(loss=loss)._losses.artifact is None

    networks = small_networks(loss=replace(loss, weights=replace(loss.weights, artifact=10.0)))
    terms, _ = networks.update([small_batch()], 1e-2, False)

    assert networks._losses.artifact.average is networks.ema.module
    assert terms["artifact"] > 0
    assert not networks.ema.module.training


def test_the_average_counts_in_the_operations_of_a_step():
    loss = replace(preset("srgan-x4").loss, content=None)
    plain, more = (
        small_networks(loss=replace(loss, weights=replace(loss.weights, artifact=weight))) for weight in (0.0, 1.0)
    )
    forward = step_flops(MetaStep(plain.generator.raw, None, plain._losses), 2, 16, 2) / 3  # about: one of three passes

    assert more.flops(2) - plain.flops(2) == pytest.approx(forward, rel=0.3)


def test_content_of_weight_0_reads_no_vgg(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trainable, "load_vgg", lambda *_: pytest.fail("VGG was read"))
    loss = preset("srgan-x4").loss

    networks = small_networks(loss=replace(loss, weights=Weights(pixel=1.0, content=0.0)))

    assert networks._losses.content is None
