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


def test_the_reading_thread_works_on_its_own_device(monkeypatch: pytest.MonkeyPatch):
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)

    batches = ThreadedBatches(lambda _: iter(()), [], torch.device("cuda", 1))
    with pytest.raises(StopIteration):
        next(batches)
    batches.close()

    assert chosen == [torch.device("cuda", 1)]


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
