from pathlib import Path

import numpy as np
import pytest
import torch

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading import decoded_images
from srgan_dist.data.loading.crop_plan import CropPlan, SamplingOrder
from srgan_dist.data.loading.decoded_images import DecodedImages, default_limit
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.shard_set import ShardSet
from tests.conftest import write_images

PAIR = 3 * (64 * 80 + 32 * 40)
"""Bytes of a decoded pair."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    root: Path = tmp_path_factory.mktemp("decoded")
    write_images(root / "hr", 39, size=(64, 80))
    pack(FolderSource(root=root / "hr"), PackOptions(out=root / "out", scale=2, encoding="png"))
    return ShardSet((str(root / "out"),), "train")


@pytest.mark.parametrize("count", [800, 801, 512, 5000])
def test_all_crops_of_a_step_of_128_come_from_distinct_images(count: int):
    order = SamplingOrder(None, 0, 8, 128, 128)
    plan = CropPlan(np.full((count, 2), 40), 24, seed=0, sampling=order)

    image = plan.images(np.arange(128 * 500, dtype=np.uint64)).reshape(500, 128)

    assert all(len(set(row)) == 128 for row in image.tolist())
    epoch = plan.images(np.arange(8 * count, dtype=np.uint64))
    assert (np.bincount(epoch) == 8).all()


def test_each_of_eight_processes_decodes_its_own_part_of_the_images():
    plan = CropPlan(np.full((1024, 2), 40), 24, seed=0, sampling=SamplingOrder(None, 0, 8, 128, 128))

    block = plan.images(np.arange(8 * 128, dtype=np.uint64)).reshape(8, 8, 16)  # step, process, crop

    assert [len(set(block[:, rank].ravel().tolist())) for rank in range(8)] == [16] * 8


def test_the_reader_visits_at_least_the_images_of_a_step_together(shards: ShardSet):
    for step, distinct in ((8, 40), (32, 32), (24, 24)):
        plan = CropReader(shards, 32, 0, step=step).plan
        first = plan.images(np.arange(step, dtype=np.uint64))
        assert len(set(first.tolist())) == min(step, distinct)


def test_a_run_that_visits_too_few_images_together_is_warned(shards: ShardSet, caplog: pytest.LogCaptureFixture):
    CropReader(shards, 32, 0, DataConfig(decoded_cache=16), step=32)

    assert "data.decoded_cache=16 is less than the 32 crops of a step" in caplog.text


def test_decoded_images_stay_within_their_bytes(shards: ShardSet):
    images = DecodedImages(shards, limit=6 * PAIR, threads=1)

    for first in range(0, 36, 2):
        images.request([first, first + 1], [first + 2, first + 3])
        assert images.pair(first)[1].shape == (64, 80, 3)
        assert images.bytes <= 6 * PAIR


def test_only_the_images_of_one_batch_may_exceed_the_bytes(shards: ShardSet):
    images = DecodedImages(shards, limit=PAIR, threads=1)

    images.request([0, 1, 2], [3, 4])
    assert images.bytes == 3 * PAIR
    images.request([3], [4, 5])

    assert images.bytes == PAIR
    assert images.pair(3)[0].shape == (32, 40, 3)


def test_an_image_that_is_used_again_is_not_decoded_again(shards: ShardSet):
    images = DecodedImages(shards, limit=4 * PAIR, threads=1)

    images.request([0, 1], [2, 3])
    before = images.pair(0)[1]
    images.request([2, 3], [0, 1])

    assert images.pair(0)[1] is before


def test_a_small_limit_changes_no_crop(shards: ShardSet, monkeypatch: pytest.MonkeyPatch):
    crops = []
    for limit in (1, 1 << 30):
        monkeypatch.setattr("srgan_dist.data.loading.reader.default_limit", lambda limit=limit: limit)
        reader = CropReader(shards, 32, 0, DataConfig(batch=8))
        batch = reader.empty(8, pinned=False)
        crops.append(torch.stack([raw.hr.clone() for raw in reader.batches(iter([batch] * 20), 0, 8)]))

    assert torch.equal(*crops)


def test_by_default_the_processes_of_a_machine_share_a_quarter_of_its_free_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoded_images, "free_bytes", lambda device: 64 << 30)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = default_limit()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")

    assert (alone, default_limit()) == (16 << 30, 2 << 30)
