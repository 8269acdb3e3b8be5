"""How fast crops come, beside what users would pick instead; also packing, and a set of CelebA's size.

    python benchmarks/data.py crops  [--quick]    crops per second of one core, and memory
    python benchmarks/data.py pack   [--quick]    seconds per megapixel, one process against two
    python benchmarks/data.py celeba [--quick]    200,000 small images: start-up and memory
    python benchmarks/data.py cold   [--quick]    reads from disk: bytes per crop and crops/s, with and without advice

It reads processor times from /proc: Linux only.

`--images DIR` takes images of your own (for `crops` and `pack`), otherwise photograph-like ones are made.
Every round of `crops` runs all candidates one behind the other; the table gives medians over the rounds, and the
ratios are medians of the rounds' own ratios. `crops/s/core` divides by the CPU seconds of all processes involved.
"""

import argparse
import itertools
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading import reader as reader_module
from srgan_dist.data.loading.reader import CropReader
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.shard_set import ShardSet

SCALE, CROP, BATCH = 4, 96, 16
CROP_BYTES = 3 * (CROP * CROP + (CROP // SCALE) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("crops", "pack", "celeba", "cold"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--chart", type=Path, help="also draw the bar chart here (crops)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SRGAN_CACHE"] = f"{folder}/cache"
        {"crops": crops, "pack": packing, "celeba": celeba, "cold": cold}[args.what](Path(folder), args)


def photographs(folder: Path, count: int, height: int, width: int) -> Path:
    """Fractal noise with edges: compresses about as photographs do."""
    folder.mkdir(parents=True)
    for n in range(count):
        rng = np.random.default_rng(n)
        image = np.zeros((height, width, 3), np.float32)
        for octave in range(2, 9):
            small = rng.normal(size=(2**octave, 2**octave, 3)).astype(np.float32)
            for c in range(3):
                layer = Image.fromarray(small[:, :, c]).resize((width, height), Image.Resampling.BICUBIC)
                image[:, :, c] += np.asarray(layer) * 60 / 1.6**octave
        image += 60 * (image[:, :, :1] > 5) + rng.normal(0, 1.5, image.shape)
        Image.fromarray((image + 100).clip(0, 255).astype(np.uint8)).save(folder / f"{n:04d}.png", compress_level=3)
    return folder


def pack_all(images: Path, folder: Path) -> None:
    for name, options in {
        "raw": {"encoding": "raw"},
        "png": {"encoding": "png"},  # only for its images as files
        "png-480": {"encoding": "png", "tile": 480},
        "webp-480": {"encoding": "webp", "tile": 480},
    }.items():
        pack(FolderSource(root=images), PackOptions(out=folder / name, scale=SCALE, **options))
    for name in ("png", "png-480"):  # as files, for those who read files
        shards = ShardSet((str(folder / name),), "train")
        for part, read in (("hr", shards.hr), ("lr", shards.lr)):
            (folder / f"{name}-files" / part).mkdir(parents=True)
            for i, key in enumerate(shards.keys):
                Image.fromarray(read(i)).save(folder / f"{name}-files" / part / f"{key}.png", compress_level=3)


class Files(Dataset):
    """A crop of the pair of PNG files, decoded whole each time: the notebook's way, and on tiles BasicSR's."""

    def __init__(self, folder: Path, endless: int) -> None:
        self.hr, self.lr = (sorted((folder / part).iterdir()) for part in ("hr", "lr"))
        self.endless = endless

    def __len__(self) -> int:
        return self.endless

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        n = random.randrange(len(self.hr))
        hr, lr = (np.asarray(Image.open(f[n]).convert("RGB")) for f in (self.hr, self.lr))
        return cut(hr, lr)


def cut(hr: np.ndarray, lr: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    side = CROP // SCALE
    y, x = random.randint(0, lr.shape[0] - side), random.randint(0, lr.shape[1] - side)
    big = hr[y * SCALE : y * SCALE + CROP, x * SCALE : x * SCALE + CROP]
    return torch.from_numpy(big.copy()), torch.from_numpy(lr[y : y + side, x : x + side].copy())


def loader(folder: Path, workers: int) -> Iterator[object]:
    return iter(DataLoader(Files(folder, 10**9), BATCH, num_workers=workers))


def stock_webdataset(folder: Path, workers: int) -> Iterator[object]:
    tars = sorted(map(str, folder.glob("*.tar")))
    stream = webdataset.WebDataset(tars, resampled=True, shardshuffle=False, nodesplitter=None)
    crops = stream.shuffle(100).decode("rgb8").to_tuple("hr.png", "lr.png").map(lambda pair: cut(*pair))
    return iter(DataLoader(crops.batched(BATCH), None, num_workers=workers))


def ours(folder: Path, **fields: int) -> Iterator[object]:
    reader = CropReader(ShardSet((str(folder),), "train"), CROP, 0, DataConfig(**fields))
    buffers = [reader.empty(BATCH, pinned=False) for _ in range(3)]
    return reader.batches(itertools.cycle(buffers), 0, BATCH)


def memcpy(folder: Path) -> Iterator[object]:
    """As many bytes as a crop has, in one piece each, from anywhere in the same mapped shards into the same buffer."""
    shards = ShardSet((str(folder),), "train")
    maps = [np.frombuffer(m, np.uint8) for m in shards.maps.values()]
    rng, buffers = (
        np.random.default_rng(0),
        itertools.cycle([np.empty((BATCH, CROP_BYTES), np.uint8) for _ in range(3)]),
    )
    while True:
        which = rng.integers(0, len(maps), (64, BATCH)).tolist()
        where = rng.random((64, BATCH)).tolist()
        for ms, ws, out in zip(which, where, buffers):  # noqa: B905
            for j, (m, w) in enumerate(zip(ms, ws, strict=True)):
                start = int(w * (maps[m].size - CROP_BYTES))
                out[j] = maps[m][start : start + CROP_BYTES]
            yield out


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) + sum(map(child_seconds, children()))


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8").split()


def child_seconds(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb() -> float:
    """Memory of its own, without the shared page cache, of this process and its children."""
    total = 0
    for pid in ["self", *children()]:
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            total += int(line.split()[1]) if line.startswith("RssAnon") else 0
    return total / 1024


Candidate = tuple[str, Callable[[], Iterator[object]], int]


def candidates(folder: Path, quick: bool) -> list[Candidate]:
    """Name, what starts it, and batches per round: enough for tenths of a second."""
    few = 1 if quick else 2
    tiles, whole = folder / "png-480-files", folder / "png-files"
    rows: list[Candidate] = [
        ("whole PNGs, one decode a crop (notebook)", lambda: loader(whole, 0), 1),
        ("480 tiles of PNG, DataLoader (BasicSR)", lambda: loader(tiles, 0), 2 * few),
        ("the same, 2 workers", lambda: loader(tiles, 2), 2 * few),
        *(
            (f"webdataset, 480 tiles of PNG, {w} workers", lambda w=w: stock_webdataset(folder / "png-480", w), 2 * few)
            for w in (0, 1, 2)
        ),
        ("ours, PNG 480 tiles", lambda: ours(folder / "png-480"), 24 * few),
        ("ours, WebP 480 tiles", lambda: ours(folder / "webp-480"), 24 * few),
        ("ours, raw", lambda: ours(folder / "raw"), 2000),
        ("memcpy of a crop's bytes (the limit)", lambda: memcpy(folder / "raw"), 2000),
    ]
    return rows


def crops(folder: Path, args: argparse.Namespace) -> None:
    images = args.images or photographs(folder / "images", 8 if args.quick else 24, 1356, 2040)
    pack_all(images, folder)
    wall: dict[str, list[float]] = {}
    core: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    rows = candidates(folder, args.quick)
    for round_number in range(2 if args.quick else 5):
        for name, start, count in rows:
            before = memory_mb()
            batches = start()
            next(batches)  # start-up and the first decodes are not what is asked
            if name.startswith("ours, raw") and round_number == 0:
                list(itertools.islice(batches, count))  # touch the pages once
            began, used = time.perf_counter(), cpu_seconds()
            for _ in range(count):
                next(batches)
            wall.setdefault(name, []).append(count * BATCH / (time.perf_counter() - began))
            core.setdefault(name, []).append(count * BATCH / max(1e-9, cpu_seconds() - used))
            memory[name] = max(memory.get(name, 0), memory_mb() - before)
            del batches
    report(wall, core, memory)
    if args.chart:
        chart(core, args.chart)


def report(wall: dict[str, list[float]], core: dict[str, list[float]], memory: dict[str, float]) -> None:
    first, *_, limit = core
    print("| way | crops/s | crops/s/core | x notebook | x tile DataLoader | of memcpy | MB |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    tile = list(core)[1]
    for name in core:
        ratios = [
            statistics.median(a / b for a, b in zip(core[name], core[base], strict=True))
            for base in (first, tile, limit)
        ]
        numbers = f"{statistics.median(wall[name]):,.0f} | {statistics.median(core[name]):,.0f}"
        print(f"| {name} | {numbers} | {ratios[0]:,.0f} | {ratios[1]:,.1f} | {ratios[2]:.2f} | {memory[name]:.0f} |")


def chart(core: dict[str, list[float]], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    values = [statistics.median(v) for v in core.values()]
    colors = ["#c44e52" if n.startswith("ours") else "#bbbbbb" for n in core]
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    bars = axes.barh(list(core), values, color=colors, log=True)
    axes.bar_label(bars, [f"{v:,.0f}" for v in values], padding=3)
    axes.set_xlim(1, max(values) * 6)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("crops per second and core (LR 24x24 + HR 96x96), logarithmic", loc="left")
    figure.savefig(file, dpi=130)


def packing(folder: Path, args: argparse.Namespace) -> None:
    """Two processes against one, and what is written to disk alone, interleaved."""
    images = args.images or photographs(folder / "images", 4 if args.quick else 12, 1356, 2040)
    source = FolderSource(root=images)
    items = [i for split in ("train", "valid") for i in source.items(split, SCALE)]
    megapixels = sum(np.prod(Image.open(i.hr).size) for i in items) / 1e6
    base = [sys.executable, "-m", "srgan_dist", "pack", "folder", "--root", str(images), "--scale", str(SCALE)]
    times: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for n in range(2 if args.quick else 5):
        for workers in times:
            out = folder / f"packed-{workers}-{n}"
            began = time.perf_counter()
            done = subprocess.run(
                ["/usr/bin/env", "time", "-v", *base, "--out", str(out), "--workers", str(workers)]
                if Path("/usr/bin/time").exists()
                else [*base, "--out", str(out), "--workers", str(workers)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            whole = time.perf_counter() - began
            packed = float(done.stderr.split(" s: ")[0].split()[-1])
            times[workers].append((whole, packed, peak_mb(done.stderr)))
    print(f"{len(items)} images, {megapixels:.1f} megapixels\n")
    print("| processes | command s | packing s | s per megapixel | speed-up of packing | peak MB |")
    print("|--:|--:|--:|--:|--:|--:|")
    for workers, found in times.items():
        whole, packed, peak = (statistics.median(column) for column in zip(*found, strict=True))
        gain = statistics.median(a[1] / b[1] for a, b in zip(times[1], found, strict=True))
        print(f"| {workers} | {whole:.1f} | {packed:.1f} | {packed / megapixels:.3f} | {gain:.2f} | {peak:.0f} |")


def peak_mb(said: str) -> float:
    found = [line for line in said.splitlines() if "Maximum resident" in line]
    if found:
        return float(found[0].split()[-1]) / 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


CELEBA_START = """
import resource, sys, time
from pathlib import Path
import torch, numpy
from srgan_dist.data import feed, reader
def rss():
    return int(next(l for l in open('/proc/self/status') if l.startswith('RssAnon')).split()[1]) / 1024
before, began = rss(), time.perf_counter()
data, _ = feed.open_data(reader.DataConfig(shards=(sys.argv[1],), hr_crop=32), 4, 0, 0)
batches = data.batches(16, 0, 16, torch.device('cpu'))
next(batches)
first = time.perf_counter() - began
opened = rss()
for _ in range(int(sys.argv[2])):
    next(batches)
print(first, opened - before, rss() - before)
"""


def celeba(folder: Path, args: argparse.Namespace) -> None:
    """Packs and reads sets of growing size; what memory adds per image is the index."""
    print("| images | packing s | packing peak MB | manifest MB | first batch s | memory MB | after 2,000 batches |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    found: list[tuple[int, float, float]] = []
    for count in (2_000, 10_000) if args.quick else (20_000, 200_000):
        images, out = folder / f"faces-{count}", folder / f"shards-{count}"
        faces(images, count)
        command = [sys.executable, "-m", "srgan_dist", "pack", "folder", "--root", str(images), "--out", str(out)]
        began = time.perf_counter()
        done = subprocess.run(["/usr/bin/env", "time", "-v", *command], capture_output=True, text=True, check=True)
        seconds, peak = time.perf_counter() - began, peak_mb(done.stderr)
        said = subprocess.run(
            [sys.executable, "-c", CELEBA_START, str(out), "2000"], capture_output=True, text=True, check=True
        ).stdout
        first, opened, later = map(float, said.split())
        size = (out / "manifest.json").stat().st_size / 1e6
        print(
            f"| {count:,} | {seconds:.0f} | {peak:.0f} | {size:.1f} | {first:.2f} | {opened:.0f} | {later:.0f} |",
            flush=True,
        )
        found.append((count, peak, opened))
    (n1, p1, m1), (n2, p2, m2) = found
    per = [1024**2 * (b - a) / (n2 - n1) for a, b in ((p1, p2), (m1, m2))]
    print(f"\nbytes per image: {per[0]:.0f} while packing, {per[1]:.0f} in a run")


def cold(folder: Path, args: argparse.Namespace) -> None:
    """Raw shards whose pages were dropped before each turn; turns with and without advice to the kernel interleaved.

    The last two rows are the warm reader, without advice because the set fits the memory, and with it.
    """
    first = photographs(folder / "one", 1, 1356, 2040) / "0000.png"
    image = np.asarray(Image.open(first))
    (folder / "images").mkdir()
    for n in range(12 if args.quick else 48):
        shifted = np.roll(image, (n * 97, n * 131), (0, 1)) ^ np.uint8(n % 4)
        Image.fromarray(shifted).save(folder / "images" / f"{n:03d}.png", compress_level=1)
    pack(FolderSource(root=folder / "images"), PackOptions(out=folder / "raw", scale=SCALE))
    ShardSet((str(folder / "raw"),), "train")  # verifies the shards, which reads all of them
    found: dict[tuple[bool, bool], list[tuple[float, float]]] = {}
    for _ in range(3 if args.quick else 7):
        for warm, advised in itertools.product((False, True), (False, True)):
            found.setdefault((warm, advised), []).append(read_turn(folder / "raw", warm, advised))
    print("| pages | advice | MB read a crop | crops/s | against no advice |")
    print("|:--|:--|--:|--:|--:|")
    for (warm, advised), turns in found.items():
        read, rate = (statistics.median(column) for column in zip(*turns, strict=True))
        gain = statistics.median(a[1] / b[1] for a, b in zip(turns, found[warm, False], strict=True))
        print(
            f"| {'warm' if warm else 'cold'} | {'yes' if advised else 'no'} | {read:.2f} | {rate:,.0f} | {gain:.2f} |"
        )


def read_turn(shards: Path, warm: bool, advised: bool) -> tuple[float, float]:
    """MB read from disk per crop, and crops per second."""
    if not warm:
        for tar in shards.glob("*.tar"):
            with tar.open("rb") as content:
                os.fsync(content.fileno())
                os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with mock.patch.object(reader_module, "fits_memory", return_value=not advised):
        batches = ours(shards)
    count = 2000 if warm else 6
    if warm:
        list(itertools.islice(batches, count))
    before, began = disk_bytes(), time.perf_counter()
    list(itertools.islice(batches, count))
    seconds = time.perf_counter() - began
    return (disk_bytes() - before) / 1e6 / (count * BATCH), count * BATCH / seconds


def disk_bytes() -> int:
    lines = Path("/proc/self/io").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def faces(folder: Path, count: int) -> None:
    """Small JPEGs that are all different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    base = np.asarray(Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((40, 48)))
    for n in range(count):
        image = base.copy()
        image[:6, :24] = np.array([(n >> b & 1) * 255 for b in range(24)], np.uint8)[None, :, None]
        Image.fromarray(image).save(folder / f"{n:06d}.png", compress_level=1)


if __name__ == "__main__":
    main()
