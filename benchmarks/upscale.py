"""Upscaling against plain PyTorch, tiles against the whole image, and the memory of a 12-megapixel image.

    python benchmarks/upscale.py [--quick] [--part speed|tiles|memory] [--bf16]

The candidates take turns in one run, so that another load on the machine hits all of them; the table shows medians.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from srgan_dist.inference.fusion import super_resolve
from srgan_dist.inference.upscaler import Precision, Upscaler
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small images: a minute on two cores")
    parser.add_argument("--part", choices=["speed", "tiles", "memory"], help="only this part")
    parser.add_argument("--bf16", action="store_true", help="tiles against whole in bf16, which takes half the time")
    arguments = parser.parse_args()
    parts = {"speed": speed, "tiles": partial(tiles, "bf16" if arguments.bf16 else "no"), "memory": memory}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, SRResNet with 16 blocks, x4\n")
    for name, part in parts.items():
        if arguments.part in (None, name):
            part(arguments.quick)


def speed(quick: bool) -> None:
    width, height = (256, 170) if quick else (510, 339)
    network, lr = srresnet(), image(width, height)
    ours, bf16 = Upscaler(network, 4), Upscaler(network, 4, precision="bf16")
    candidates: dict[str, Callable[[], object]] = {
        "plain PyTorch, fp32, NCHW, whole": lambda: super_resolve(network, lr),
        "srgan upscale": lambda: ours(lr),
    }
    if torch.ops.mkldnn._is_mkldnn_bf16_supported() and native_bf16():
        candidates["srgan upscale --mixed-precision bf16"] = lambda: bf16(lr)
    else:
        print("This CPU computes bf16 in fp32 steps: not measured here.\n")
    table(f"{width}x{height}", race(candidates, rounds=3), width * height * 16 / 1e6)


def native_bf16() -> bool:
    flags = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags or "bf16" in flags.split()


def tiles(precision: Precision, quick: bool) -> None:
    width, height = (1100, 900) if quick else (2000, 1500)
    network, lr = srresnet(), image(width, height)
    whole, tiled = Upscaler(network, 4, precision=precision, tile=10_000), Upscaler(network, 4, precision=precision)
    plan, _ = tiled.plan(height, width)
    candidates = {"whole": lambda: whole(lr), f"in {len(plan)} tiles, chosen": lambda: tiled(lr)}
    table(f"{width}x{height}, precision {precision}", race(candidates, 2 if quick else 1), width * height * 16 / 1e6)


UPSCALE = """
import sys
from srgan_dist.cli.app import main
from srgan_dist.utils.host_memory import peak_host_bytes
code = main(sys.argv[1:])
print(peak_host_bytes())
sys.exit(code)
"""


def memory(quick: bool) -> None:
    """Peak of a process that does nothing but `srgan upscale`."""
    width, height = (1000, 750) if quick else (4000, 3000)
    with tempfile.TemporaryDirectory() as folder:
        model, source = Path(folder, "model.safetensors"), Path(folder, "in.png")
        notes = {"label": "SRResNet", "scale": 4, "degradation": "matlab-mirror"}
        save_generator(model, srresnet(), SRResNetConfig(), notes)
        Image.fromarray(image(width, height)).save(source)
        command = [sys.executable, "-c", UPSCALE, "upscale", source, Path(folder, "out.png"), "--model", model]
        started = time.perf_counter()
        done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE)
        seconds = time.perf_counter() - started
    peak = int(done.stdout.split()[-1]) / 2**30
    print(f"{width}x{height} to {width * 4}x{height * 4}: peak {peak:.2f} GiB in {seconds:.0f} s, PNG written\n")


def srresnet() -> torch.nn.Module:
    torch.manual_seed(0)
    network = SRResNetConfig().build(4).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training: not the identity
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def image(width: int, height: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.array(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


class Taken(NamedTuple):
    """Medians."""

    wall: float
    cpu: float
    """Seconds of all cores: hardly moves when something else runs on the machine."""


def race(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, Taken]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: Taken(*map(statistics.median, zip(*times, strict=True))) for name, times in seconds.items()}


def table(title: str, taken: dict[str, Taken], megapixels: float) -> None:
    first = next(iter(taken.values()))
    print(f"| {title} | seconds | HR megapixels/s | speed | CPU seconds | speed by these |\n|:--|--:|--:|--:|--:|--:|")
    for name, (wall, cpu) in taken.items():
        rates = f"{megapixels / wall:.2f} | {first.wall / wall:.2f}x | {cpu:.1f} | {first.cpu / cpu:.2f}x"
        print(f"| {name} | {wall:.2f} | {rates} |")
    print()


if __name__ == "__main__":
    main()
