import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch._dynamo.utils import counters

from srgan_dist.data.batch import Pair
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.training.compilation import Compile, choose_kernels, prepare_compilation
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.presets import preset
from srgan_dist.training.trainable import Networks


def configuration(compile: Compile) -> TrainConfig:
    config = preset("quickstart")
    return replace(
        config, data=replace(config.data, hr_crop=32, batch=2), generator=SRResNetConfig(blocks=1, channels=4),
        discriminator=VGGDiscriminatorConfig(channels=2, dense=4), compile=compile,
    )  # fmt: skip


def batch(seed: int) -> Pair:
    rng = torch.Generator().manual_seed(seed)
    images = (torch.rand(2, 3, side, side, generator=rng) for side in (16, 32))
    return Pair(*(i.to(memory_format=torch.channels_last) for i in images))


@pytest.fixture
def quick_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """torch.compile without its code generator: graphs and guards are what is looked at."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    prepare_compilation("default", tmp_path)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled_so_far() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_backend")
def test_nothing_is_compiled_again_after_the_first_steps_of_a_phase():
    networks = Networks(configuration("default"), Accelerator(cpu=True))
    counts = []
    for phase in range(2):
        for step in range(8):
            networks.update([batch(step)], 1e-3 / (step + 1), measure_gradient_shares=phase == 1 and step % 2 == 1)
            counts.append(compiled_so_far())
        networks.ema.module(torch.rand(1, 3, 20, 28))  # validation, at another size
        if phase == 0:
            networks.start_adversarial()

    assert counts[0] > 0
    assert counts[7] == counts[1]  # pretraining
    assert counts[8] > counts[7]
    assert counts[15] == counts[9]  # adversarial


@pytest.mark.slow
@pytest.mark.usefixtures("quick_backend")
def test_compiled_networks_train_like_the_others():
    both = [Networks(configuration(mode), Accelerator(cpu=True)) for mode in ("no", "default")]
    for networks in both:
        networks.start_adversarial()
        for step in range(3):
            networks.update([batch(step)], 1e-3, measure_gradient_shares=False)

    states = [networks.state_dict()["networks"] for networks in both]
    for one, other in zip(*states, strict=True):
        assert one["network"].keys() == other["network"].keys()  # no wrapper's prefix
        for name, value in one["network"].items():
            if "running" in name or "tracked" in name:  # compiled, the discriminator looks once more at the fakes
                continue
            torch.testing.assert_close(value, other["network"][name], rtol=1e-3, atol=1e-4)


@pytest.fixture
def torch_settings() -> Iterator[None]:
    yield
    choose_kernels(False, "no")
    torch.backends.cudnn.benchmark = False


@pytest.mark.usefixtures("torch_settings")
def test_deterministic_runs_win_over_the_search_for_kernels_and_over_compilation(caplog: pytest.LogCaptureFixture):
    choose_kernels(False, "default")
    assert torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    assert not caplog.text

    choose_kernels(True, "default")
    assert not torch.backends.cudnn.benchmark
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]
    assert "--compile default is ignored" in caplog.text
    assert replace(preset("quickstart"), compile="default", deterministic=True).compilation == "no"
    assert replace(preset("quickstart"), compile="default").compilation == "default"
