import mmap
from pathlib import Path

import pytest
import torch

from srgan_dist.data.loading import read_advice, reader
from srgan_dist.data.loading.read_advice import ReadAdvice, fits_memory
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.shard_set import ShardSet
from tests.conftest import write_images

NEEDED = pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="needs madvise")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    root: Path = tmp_path_factory.mktemp("advice")
    write_images(root / "hr", 8, size=(96, 120))
    pack(FolderSource(root=root / "hr"), PackOptions(out=root / "out", scale=2, shard_mb=0.08))
    return str(root / "out")


def crops(folder: str, margin: int = 0) -> torch.Tensor:
    """Forty batches of four crops, planned three batches at a time."""
    reading = CropReader(ShardSet((folder,), "train"), 32, 0, margin=margin)
    batches = (reading.empty(4, pinned=False) for _ in range(40))
    return torch.stack([raw.hr for raw in reading.batches(batches, 0, 4, ahead=3)])


@pytest.mark.parametrize("margin", [0, 24, 80])  # the last is larger than the images
@pytest.mark.parametrize("available", [True, False])
def test_advice_changes_no_crop(folder: str, monkeypatch: pytest.MonkeyPatch, margin: int, available: bool):
    without = crops(folder, margin)

    monkeypatch.setattr(reader, "fits_memory", lambda maps: False)
    monkeypatch.setattr(read_advice, "_AVAILABLE", available and read_advice._AVAILABLE)

    assert torch.equal(crops(folder, margin), without)


@NEEDED
def test_the_rows_of_each_crop_are_asked_for_before_it_is_cut(folder: str, monkeypatch: pytest.MonkeyPatch):
    fetched: list[tuple[int, int, int]] = []
    monkeypatch.setattr(reader, "fits_memory", lambda maps: False)
    monkeypatch.setattr(ReadAdvice, "fetch", lambda self, *ranges: fetched.extend(zip(*ranges, strict=True)))
    shards = ShardSet((folder,), "train")
    reading = CropReader(shards, 32, 0)
    batch = reading.empty(4, pinned=False)

    reading.fill(batch, 0)

    assert len(fetched) == 8
    for (number, start, length), hr in zip(fetched, batch.hr.numpy(), strict=False):  # HR comes before LR
        rows = bytes(shards.maps[number][start : start + length])
        assert rows.startswith(hr[0].tobytes())
        assert rows.endswith(hr[-1].tobytes())


@NEEDED
def test_ranges_begin_at_a_page_and_every_shard_is_declared_random_once(tmp_path: Path):
    asked: list[tuple[int, ...]] = []

    class Map(mmap.mmap):
        def madvise(self, *advice: int) -> None:
            asked.append(advice)
            super().madvise(*advice)

    file = tmp_path / "shard"
    file.write_bytes(bytes(5 * mmap.PAGESIZE))
    with file.open("rb") as content:
        mapped = Map(content.fileno(), 0, access=mmap.ACCESS_READ)
    advice = ReadAdvice({3: memoryview(mapped), 4: memoryview(b"")})

    advice.fetch([3, 3, 4], [mmap.PAGESIZE + 7, 5, 0], [10, mmap.PAGESIZE, 1])

    assert asked == [
        (mmap.MADV_RANDOM,),
        (mmap.MADV_WILLNEED, mmap.PAGESIZE, 17),
        (mmap.MADV_WILLNEED, 0, mmap.PAGESIZE + 5),
    ]


def test_a_set_fits_if_the_free_memory_can_hold_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read_advice, "free_bytes", lambda device: 10)

    assert fits_memory([memoryview(b"12345"), memoryview(b"67890")])
    assert not fits_memory([memoryview(b"12345"), memoryview(b"678901")])
