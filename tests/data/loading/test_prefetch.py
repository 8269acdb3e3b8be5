from typing import Any

import numpy as np
import pytest
import torch

from srgan_dist.data.batch import RawBatch
from srgan_dist.data.loading import prefetch
from srgan_dist.data.loading.prefetch import ThreadedBatches, to_device


def raw(count: int = 8) -> RawBatch:
    """One crop in each orientation."""
    rng = np.random.default_rng(0)
    lr, hr = (torch.from_numpy(rng.integers(0, 255, (count, n, n, 3), dtype=np.uint8)) for n in (6, 12))
    return RawBatch(lr, hr, torch.arange(count, dtype=torch.uint8), np.arange(count, dtype=np.uint64))


def test_batches_arrive_in_channels_last_whatever_their_orientations():
    for orientations in (range(8), [0] * 8, [7] * 8):
        batch = raw()._replace(orientation=torch.tensor(list(orientations), dtype=torch.uint8))

        pair = to_device(batch, torch.device("cpu"))

        assert pair.lr.is_contiguous(memory_format=torch.channels_last)
        assert pair.hr.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("device", "number"), [("cuda:1", 1), ("cuda:0", 0), ("cuda", 3)])
def test_the_reading_thread_works_on_its_own_device(device: str, number: int, monkeypatch: pytest.MonkeyPatch):
    """One process alone has "cuda" without a number, which `set_device` refuses."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)

    batches = ThreadedBatches(lambda _: iter(()), [], torch.device(device))
    with pytest.raises(StopIteration):
        next(batches)
    batches.close()

    assert chosen == [number]


def test_the_reading_thread_sleeps_until_a_copy_is_done(monkeypatch: pytest.MonkeyPatch):
    asked: list[dict[str, Any]] = []

    class Event:
        def __init__(self, **how: Any) -> None:
            asked.append(how)

        def record(self, stream: object) -> None:
            pass

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)

    prefetch._record(torch.device("cuda", 0))

    assert asked == [{"blocking": True}]
