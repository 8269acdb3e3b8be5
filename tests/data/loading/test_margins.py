"""From the authors' code of Real-ESRGAN: a degradation sees a larger area, from which the crop is cut at random."""

import numpy as np
import pytest
import torch

from srgan_dist.data.loading.crop_plan import CropPlan
from srgan_dist.data.loading.margins import areas
from srgan_dist.data.loading.prefetch import to_device
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.shard_set import ShardSet
from tests.conftest import write_images

INDICES = np.arange(20_000, dtype=np.uint64)


@pytest.fixture(scope="module", params=["raw", "png"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images larger than an area of 32 + 24, and images that are smaller along one or both axes."""
    root = tmp_path_factory.mktemp("margins")
    for n, size in enumerate([(72, 88), (40, 96), (44, 36)]):
        for image in write_images(root / str(n), 4, size=size, seed=100 * n).iterdir():
            (root / "hr").mkdir(exist_ok=True)
            image.rename(root / "hr" / f"{n}{image.name}")
    pack(FolderSource(root=root / "hr"), PackOptions(out=root / "out", scale=2, encoding=request.param))
    return str(root / "out")


def test_areas_lie_inside_their_images_and_crops_lie_anywhere_in_them():
    sizes = np.array([[200, 300]])
    crops = CropPlan(sizes, 16, seed=1)(INDICES)

    found = areas(crops, sizes, 16, 12, 1, INDICES)

    assert not found.mirrored.any()
    assert min(found.y.min(), found.x.min()) >= 0
    assert (found.y + 28).max() <= 200
    assert (found.x + 28).max() <= 300
    central = (crops.y >= 12) & (crops.y <= 172) & (crops.x >= 12) & (crops.x <= 272)
    counts = np.stack([np.bincount(found.offset[central, k], minlength=13) for k in (0, 1)])
    assert counts.shape == (2, 13)
    assert np.abs(counts / central.sum() - 1 / 13).max() < 5 / np.sqrt(4 * central.sum())


def test_an_area_contains_all_of_an_image_that_is_smaller():
    sizes = np.array([[20, 24]])
    crops = CropPlan(sizes, 16, seed=1)(INDICES)

    found = areas(crops, sizes, 16, 12, 1, INDICES)

    assert found.mirrored.all()
    assert (found.y <= 0).all()
    assert (found.y + 28 >= 20).all()
    assert found.offset.min() == 0
    assert found.offset.max() == 12


def test_without_a_margin_an_area_is_its_crop():
    sizes = np.array([[40, 50]])
    crops = CropPlan(sizes, 16, seed=1)(INDICES)

    found = areas(crops, sizes, 16, 0, 1, INDICES)

    assert np.array_equal(found.y, crops.y)
    assert np.array_equal(found.x, crops.x)
    assert not found.offset.any()


def test_the_crops_of_a_run_are_the_same_with_and_without_a_margin(folder: str):
    plain, wide = (CropReader(ShardSet((folder,), "train"), 32, 3, margin=m) for m in (0, 24))
    batches = [reader.empty(200, pinned=False) for reader in (plain, wide)]
    for reader, raw in zip((plain, wide), batches, strict=True):
        reader.fill(raw, 50)

    crops, area = (to_device(raw, torch.device("cpu")) for raw in batches)

    assert crops.offsets is None
    assert area.offsets is not None
    assert area.hr.shape[-1] == 56
    assert torch.equal(area.lr, crops.lr)
    for j, (y, x) in enumerate((2 * area.offsets).tolist()):
        assert torch.equal(area.hr[j, :, y : y + 32, x : x + 32], crops.hr[j])
    halves = area.split(2)
    assert [h.offsets is not None and h.offsets.tolist() for h in halves] == [
        area.offsets[:100].tolist(), area.offsets[100:].tolist()
    ]  # fmt: skip


def test_the_area_of_a_crop_does_not_depend_on_the_batch_it_comes_in(folder: str):
    reader = CropReader(ShardSet((folder,), "train"), 32, 3, margin=24)
    together, alone = reader.empty(40, pinned=False), reader.empty(1, pinned=False)

    reader.fill(together, 0)
    reader.fill(alone, 33)

    assert torch.equal(together.hr[33], alone.hr[0])
    assert together.offsets is not None
    assert alone.offsets is not None
    assert together.offsets[33].tolist() == alone.offsets[0].tolist()
