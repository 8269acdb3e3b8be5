"""Small real things for the tests: images, shards, a launcher."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.imaging.images import Pixels

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
torch.set_num_threads(1)  # the networks here are tiny: threads would only wait for each other

CACHE = tempfile.TemporaryDirectory(prefix="srgan-cache-")
os.environ["SRGAN_CACHE"] = CACHE.name  # not the user's own

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def random_image(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth colors, hard edges and a little noise: something that can be upscaled well or badly."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8))
    image = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    for _ in range(12):
        y, x = rng.integers(0, height - 4), rng.integers(0, width - 4)
        h, w = rng.integers(3, 24, 2)
        image[y : y + h, x : x + w] += rng.integers(-90, 90, 3, dtype=np.int16)
    return (image + rng.integers(-4, 5, image.shape)).clip(0, 255).astype(np.uint8)


def write_images(folder: Path, count: int, size: tuple[int, int] = (72, 88), seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for n in range(count):
        Image.fromarray(random_image(*size, seed=seed + n)).save(folder / f"{n:03d}.png")
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten training and two held-out images at x2."""
    root = tmp_path_factory.mktemp("images")
    write_images(root / "train", 10)
    write_images(root / "valid", 2, seed=100)
    out = root / "shards"
    pack(FolderSource(root=root), PackOptions(out=out, scale=2))
    return out


@pytest.fixture(scope="session")
def shared() -> Path:
    """Benchmark images beside the checkout, where there are some."""
    if not SHARED.is_dir():
        pytest.skip("no benchmark images beside the checkout")
    return SHARED


def command(*args: str, processes: int = 1, flags: tuple[str, ...] = (), script: Path = ROOT / "train.py") -> list[str]:
    """`accelerate launch train.py ...`, as the README has it."""
    # Port 0: any free one. By default launches that begin together take the same port, and one of them fails.
    many = ("--multi_gpu", "--num_processes", str(processes), "--main_process_port", "0") if processes > 1 else ()
    config = ("--config_file", str(ROOT / "accelerate_config.yaml"))
    return [sys.executable, "-m", "accelerate.commands.launch", *config, *many, *flags, str(script), *args]


def alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def environment() -> dict[str, str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    env.pop("MLFLOW_TRACKING_URI", None)
    return env


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Runs `accelerate launch train.py ...` as a user does, in an empty working directory."""

    def run(*args: str, **how: object) -> "subprocess.CompletedProcess[str]":
        whole, env = command(*args, **how), environment()
        return subprocess.run(whole, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False)

    return run


TINY = (
    "--data.hr-crop=32", "--data.batch=2", "--generator.blocks=1", "--generator.channels=8",
    "--discriminator.channels=4", "--discriminator.dense=8", "--log-every=2", "--validation.side=48", "--threads=1",
)  # fmt: skip
"""Flags that make any preset take milliseconds a step."""

PACE = frozenset(
    {"time"} | {f"performance/{n}" for n in ("crops_per_s", "data_wait", "memory_gib", "tflops", "of_peak")}
)
"""Numbers of a run that depend on the machine, not on what is trained."""
