import logging
from types import SimpleNamespace

import pytest
import torch

from srgan_dist.distributed import devices
from srgan_dist.distributed.devices import choose_device_kind, find_difference

CPU = torch.device("cpu")


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with Apple's GPU and no other."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends, "mps", SimpleNamespace(is_available=lambda: True))
    for name in ("ACCELERATE_USE_CPU", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def on(monkeypatch: pytest.MonkeyPatch, change: float) -> None:
    """Let gradients on Apple's GPU, for which the CPU stands in, be this factor larger."""
    real = devices._gradients
    monkeypatch.setattr(devices, "_gradients", lambda d: [g * (change if d.type == "mps" else 1) for g in real(CPU)])


def test_two_devices_that_compute_the_same_do_not_differ():
    assert find_difference(CPU) == ""


def test_a_device_that_lacks_an_operation_is_named_in_one_line():
    assert find_difference(torch.device("meta")).startswith("it failed in a small test (")


@pytest.mark.usefixtures("mac")
def test_apples_gpu_is_used_where_it_computes_what_the_cpu_does(monkeypatch: pytest.MonkeyPatch):
    on(monkeypatch, 1.0 + 1e-6)

    assert choose_device_kind() == "mps"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert choose_device_kind() == "cpu"


@pytest.mark.usefixtures("mac")
def test_apples_gpu_is_refused_with_a_word_where_it_does_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    logging.getLogger("srgan_dist").propagate = True
    on(monkeypatch, 1.05)

    assert choose_device_kind() == "cpu"
    assert "Apple's GPU is not used: its results in a small test differ from the CPU's by 5%" in caplog.text


@pytest.mark.usefixtures("mac")
def test_several_processes_share_no_apple_gpu(monkeypatch: pytest.MonkeyPatch):
    on(monkeypatch, 1.0)
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert choose_device_kind() == "cpu"
