import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from srgan_dist.training.reports import meter as module
from srgan_dist.training.reports.meter import Meter

GOOD, SKIPPED = torch.tensor(False), torch.tensor(True)


def meter(rank: int = 0, size: int = 1) -> Meter:
    accelerator: Any = SimpleNamespace(
        device=torch.device("cpu"), process_index=rank, num_processes=size, reduce=lambda t, _: t, gather=lambda t: t
    )
    return Meter(accelerator)


def terms(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: made.now))
    return made


def test_a_window_is_the_mean_of_its_steps_and_the_next_one_begins_anew():
    m = meter()
    for value in (1.0, 2.0, 6.0):
        m.add(terms(loss=value), GOOD, 0)
    first = m.read(8)
    m.add(terms(loss=10.0), GOOD, 0)

    assert (first["loss"], m.read(8)["loss"]) == (3.0, 10.0)


def test_skipped_steps_are_a_share_and_spoil_no_mean():
    m = meter()
    for value, skipped in ((1.0, GOOD), (float("nan"), SKIPPED), (3.0, GOOD), (5.0, SKIPPED)):
        m.add(terms(loss=value), skipped, 0)

    found = m.read(8)

    assert (found["loss"], found["skipped"]) == (2.0, 0.5)


def test_a_window_of_skipped_steps_has_no_means():
    m = meter()
    m.add(terms(loss=float("nan")), SKIPPED, 0)

    found = m.read(8)

    assert "loss" not in found
    assert found["skipped"] == 1


def test_metrics_that_only_some_steps_have_are_means_over_those():
    m = meter()
    m.add(terms(loss=1.0), GOOD, 0)
    m.add(terms(loss=2.0, share=0.5), GOOD, 0)
    m.add(terms(loss=6.0), GOOD, 0)
    m.add(terms(loss=3.0, share=1.0), SKIPPED, 0)

    found = m.read(8)

    assert (found["loss"], found["share"], found["skipped"]) == (3.0, 0.5, 0.25)


def test_pace_and_waiting_are_of_the_window(clock: SimpleNamespace):
    m = meter()
    windows = []
    for steps, waited, seconds in ((4, 0.5, 4.0), (2, 0.25, 1.0)):
        for _ in range(steps):
            m.add(terms(loss=1.0), GOOD, waited)
        clock.now += seconds
        windows.append(m.read(16))

    assert [w["crops_per_s"] for w in windows] == [16.0, 32.0]
    assert [w["data_wait"] for w in windows] == [0.5, 0.5]


def test_a_time_without_steps_does_not_count(clock: SimpleNamespace):
    m = meter()
    m.add(terms(loss=1.0), GOOD, 0)
    clock.now += 100
    m.exclude(99)

    assert m.read(16)["crops_per_s"] == 16


def test_operations_are_those_of_a_crop_times_the_pace(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "peak_tflops", lambda _: 4.0)
    m = meter(size=2)
    m.add(terms(loss=1.0), GOOD, 0)
    m.flops_per_crop = 0.5e12
    clock.now += 2

    found = m.read(16)

    assert (found["tflops"], found["of_peak"]) == (4.0, 0.5)


@pytest.mark.parametrize("unknown", [0.0, float("nan")])
def test_without_a_count_of_operations_none_are_stated(unknown: float):
    m = meter()
    m.add(terms(loss=1.0), GOOD, 0)
    m.flops_per_crop = unknown

    assert not {"tflops", "of_peak"} & m.read(8).keys()


def test_unread_sums_are_restored_to_the_process_that_had_them():
    rows = torch.tensor([[2.0, 1.0, 1.0], [8.0, 1.0, 1.0]])
    saved = {"names": [["loss"]], "rows": [rows]}
    found = []
    for rank in (0, 1):
        m = meter(rank, 2)
        m.load_state_dict(saved)
        found.append(m.read(8)["loss"])

    assert found == [2.0, 8.0]


def test_with_another_number_of_processes_the_first_takes_over_all_sums_and_the_others_none():
    saved = {"names": [["loss"]], "rows": [torch.tensor([[2.0, 1.0, 1.0], [8.0, 1.0, 1.0]])]}
    first, third = meter(0, 3), meter(2, 3)
    for m in (first, third):
        m.load_state_dict(saved)

    assert first.read(8)["loss"] == 5.0
    assert "loss" not in third.read(8)


def test_a_window_begins_when_the_meter_is_made():
    before = time.perf_counter()
    m = meter()
    m.add(terms(loss=1.0), GOOD, 0)

    assert m.read(1)["crops_per_s"] >= 1 / (time.perf_counter() - before)
