import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.prefetch import BatchStream, orient
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.manifest import HR
from srgan_dist.data.shards.shard_set import ShardSet
from tests.conftest import write_images

CPU = torch.device("cpu")
ENCODINGS = ("raw", "png", "webp")
PLAIN = DataConfig()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Thirty images of several sizes, in several shards, in every encoding."""
    root = tmp_path_factory.mktemp("reader")
    for n, size in enumerate([(72, 88), (80, 64), (120, 96)]):
        write_images(root / str(n), 10, size=size, seed=100 * n)
        for f in (root / str(n)).iterdir():
            (root / "hr").mkdir(exist_ok=True)
            f.rename(root / "hr" / f"{n}{f.name}")
    for encoding in ENCODINGS:
        pack(
            FolderSource(root=root / "hr"), PackOptions(out=root / encoding, scale=2, encoding=encoding, shard_mb=0.08)
        )
    return {e: str(root / e) for e in ENCODINGS}


def crops(folder: str, world: int, count: int, start: int = 0, config: DataConfig = PLAIN) -> torch.Tensor:
    """HR and LR pixels of the crops `start` to `start + count`, as `world` processes see them, in global order."""
    out: dict[int, torch.Tensor] = {}
    batch = 8 // world
    for rank in range(world):
        reader = CropReader(ShardSet((folder,), "train"), 32, seed=3, config=config)
        buffers = (reader.empty(batch, pinned=False) for _ in range(count // 8))
        for step, raw in enumerate(reader.batches(buffers, start + rank * batch, 8, ahead=5)):
            for j in range(batch):
                pixels = torch.cat([raw.hr[j].ravel(), raw.lr[j].ravel(), raw.orientation[j : j + 1]])
                out[start + step * 8 + rank * batch + j] = pixels
    assert sorted(out) == list(range(start, start + count))
    return torch.stack([out[i] for i in sorted(out)])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_first_thousand_crops_are_the_same_for_any_number_of_processes_and_any_start(folders, encoding: str):
    config = DataConfig(crops_per_decode=3, decoded_cache=16)

    one = crops(folders[encoding], 1, 1000, config=config)

    assert len(one.unique(dim=0)) > 950
    for world in (2, 4):
        assert torch.equal(one, crops(folders[encoding], world, 1000, config=config))
    for world in (1, 4):
        assert torch.equal(one[504:], crops(folders[encoding], world, 496, start=504, config=config))
    assert torch.equal(one[500:996], crops(folders[encoding], 2, 496, start=500, config=config))


def test_threads_do_not_change_the_order(folders):
    first, *others = (crops(folders["png"], 1, 200, config=DataConfig(threads=t)) for t in (1, 2, 5))

    assert all(torch.equal(first, other) for other in others)


def test_every_encoding_gives_the_same_pixels(folders):
    plain = DataConfig(crops_per_decode=1)

    raw, *others = (crops(folders[e], 1, 200, config=plain) for e in ENCODINGS)

    assert not any(torch.equal(raw[i], raw[j]) for i, j in itertools.combinations(range(4), 2))
    ordered = sorted(map(tuple, raw[:90].tolist()))
    for other in others:
        assert sorted(map(tuple, other[:90].tolist())) == ordered  # visits are grouped, so their order differs


def test_a_crop_is_cut_where_the_plan_says(folders):
    shards = ShardSet((folders["raw"],), "train")
    reader = CropReader(shards, 32, seed=1)
    batch = reader.empty(30, pinned=False)

    reader.fill(batch, 12)

    planned = reader.plan(np.arange(12, 42, dtype=np.uint64))
    for j, (image, y, x, orientation) in enumerate(zip(*planned, strict=True)):
        assert np.array_equal(batch.lr[j].numpy(), shards.lr(image)[y : y + 16, x : x + 16])
        assert np.array_equal(batch.hr[j].numpy(), shards.hr(image)[2 * y : 2 * y + 32, 2 * x : 2 * x + 32])
        assert batch.orientation[j] == orientation


def test_the_stream_reuses_its_buffers_without_mixing_batches(folders):
    reader = CropReader(ShardSet((folders["raw"],), "train"), 32, seed=1)
    stream = BatchStream(reader, 4, first=0, stride=4, device=CPU)

    seen = [next(stream) for _ in range(40)]  # kept: a buffer that is filled again must not change them
    stream.close()

    for step, pair in enumerate(seen):
        raw = reader.empty(4, pinned=False)
        reader.fill(raw, 4 * step)
        expected = orient(raw.hr, raw.orientation).permute(0, 3, 1, 2).float() / 255
        assert torch.equal(pair.hr, expected)
        assert pair.indices is not None
        assert pair.indices.tolist() == list(range(4 * step, 4 * step + 4))
        assert pair.hr.is_contiguous(memory_format=torch.channels_last) or pair.hr.stride()[1] == 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_pinned_buffers_are_not_filled_while_the_device_reads_them(folders):
    reader = CropReader(ShardSet((folders["raw"],), "train"), 32, seed=1)
    stream, cpu = BatchStream(reader, 4, 0, 4, torch.device("cuda")), BatchStream(reader, 4, 0, 4, CPU)

    pairs = [(next(stream), next(cpu)) for _ in range(200)]

    # In levels of 255: CUDA divides by a number by multiplying with its reciprocal, which may differ in the last bit.
    for on_gpu, on_cpu in pairs:
        assert torch.equal((on_gpu.hr.cpu() * 255).round(), (on_cpu.hr * 255).round())
        assert torch.equal((on_gpu.lr.cpu() * 255).round(), (on_cpu.lr * 255).round())
    stream.close()
    cpu.close()


def test_an_error_while_reading_reaches_whoever_waits(folders, tmp_path: Path):
    reader = CropReader(ShardSet((folders["png"],), "train"), 32, seed=1)
    reader._shards.maps[0] = memoryview(b"")
    stream = BatchStream(reader, 4, 0, 4, CPU)

    with pytest.raises(ValueError, match=r"train-000000.tar, sample .*: not an image"):
        list(itertools.islice(stream, 60))
    stream.close()


def test_orientations_are_the_eight_of_the_square():
    square = torch.arange(4).view(1, 2, 2, 1).expand(8, 2, 2, 1)

    turned = orient(square, torch.arange(8, dtype=torch.uint8))

    assert len({tuple(t.flatten().tolist()) for t in turned}) == 8
    assert turned[1].flatten().tolist() == [1, 0, 3, 2]  # mirrored left-right
    assert turned[2].flatten().tolist() == [2, 3, 0, 1]  # top-bottom
    assert turned[4].flatten().tolist() == [0, 2, 1, 3]  # transposed


def test_a_window_gives_the_same_crops_while_only_its_own_shards_and_its_neighbors_are_open(folders):
    shards = ShardSet((folders["raw"],), "train", lazy=True)
    reader = CropReader(shards, 32, seed=3, config=DataConfig(window=1))
    batches = [np.arange(first, first + 2, dtype=np.uint64) for first in range(0, 120, 2)]

    cut, before, allowed = [], set[int](), set[int]()
    buffers = (reader.empty(2, pinned=False) for _ in batches)
    for indices, raw in zip(batches, reader.batches(buffers, 0, 2), strict=True):
        # A batch may lie across a border, and another process may be a batch behind; the next window is fetched ahead.
        now, ahead = set(reader.plan.shards(indices)), set(reader.plan.following_shards(indices))
        if now != before:
            before, allowed = now, now | before | ahead
        assert now <= set(shards.maps) <= allowed
        cut.append(raw.hr)

    assert len(shards.manifests[0].shards) >= 6
    everything = CropReader(ShardSet((folders["raw"],), "train"), 32, seed=3, config=DataConfig(window=1))
    expected = everything.empty(120, pinned=False)
    everything.fill(expected, 0)
    assert torch.equal(torch.cat(cut), expected.hr)


def test_a_crop_that_is_larger_than_a_image_names_it(folders):
    message = r"train-00000\d.tar, sample 1000: its LR is 32x40.*--data.hr-crop.*--data.on-bad skip.*--min-side 72"
    with pytest.raises(ValueError, match=message):
        CropReader(ShardSet((folders["raw"],), "train"), 72, seed=0)


@pytest.mark.parametrize("config", [PLAIN, DataConfig(crops_per_decode=3, decoded_cache=8)])
@pytest.mark.parametrize(("first", "end"), [(0, 1), (0, 30), (7, 29), (13, 95), (60, 90), (29, 31), (40, 40)])
def test_replaced_crops_are_counted_as_by_hand(first: int, end: int, config: DataConfig, folders):
    reader = CropReader(ShardSet((folders["png"],), "train"), 32, seed=3, config=config)
    bad = np.isin(np.arange(30), [2, 11, 28])
    reader._shards.bad[:] = bad

    by_hand = sum(bool(bad[reader.plan.images(np.array([n], np.uint64))[0]]) for n in range(first, end))

    assert reader.replaced(first, end) == by_hand


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("window", [0, 1])
def test_images_smaller_than_a_crop_are_left_out_once_if_bad_ones_are_skipped(folders, caplog, encoding, window: int):
    config = DataConfig(on_bad="skip", window=window)
    shards = ShardSet((folders[encoding],), "train", "skip", lazy=window > 0)

    with caplog.at_level("WARNING"):
        reader = CropReader(shards, 72, 0, config)
        CropReader(shards, 72, 0, config)

    assert [r.message for r in caplog.records] == [
        "10 of 30 images are smaller than the crop of 72 pixels; left out"
    ]  # fmt: skip
    assert len(shards) == 20
    assert not any(key.startswith("1") for key in shards.keys)
    batch = reader.empty(40, pinned=False)
    reader.fill(batch, 0)
    planned = reader.plan(np.arange(40, dtype=np.uint64))
    assert sorted(set(planned.image.tolist())) == list(range(20))
    for j, (image, y, x, _) in enumerate(zip(*planned, strict=True)):
        shards.open([shards.shard[image]])
        assert np.array_equal(batch.hr[j].numpy(), shards.hr(image)[2 * y : 2 * y + 72, 2 * x : 2 * x + 72])


def test_a_set_in_which_every_image_is_smaller_than_a_crop_says_so(folders):
    with pytest.raises(
        ValueError, match=r"all 30 images are smaller than the crop of 200 pixels; lower --data.hr-crop"
    ):
        CropReader(ShardSet((folders["raw"],), "train"), 200, 0, DataConfig(on_bad="skip"))


def test_a_corrupt_image_is_still_skipped_where_small_ones_before_it_were_left_out(folders, tmp_path: Path):
    shutil.copytree(folders["raw"], tmp_path / "set")
    shards = ShardSet((str(tmp_path / "set"),), "train", lazy=True)
    victim = next(i for i, key in enumerate(shards.keys) if key.startswith("2"))
    number, (offset, length) = int(shards.shard[victim]), shards.table[victim, HR : HR + 2].tolist()
    with (tmp_path / "set" / shards._shards[number][1].name).open("r+b") as tar:
        tar.seek(offset + length - 50)
        tar.write(b"corrupt" * 5)
    key = shards.keys[victim]

    shards = ShardSet((str(tmp_path / "set"),), "train", "skip", lazy=True)
    CropReader(shards, 72, 0, DataConfig(on_bad="skip", window=1))
    shards.open(range(number + 1))

    assert [shards.keys[i] for i in np.flatnonzero(shards.bad)] == [key]
