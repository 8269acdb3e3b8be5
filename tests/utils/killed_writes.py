"""Write each kind of file twice, the second time in a process that dies between write and rename."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from srgan_dist.data.shards import remote
from srgan_dist.data.shards.manifest import Manifest
from srgan_dist.data.shards.tars import ShardWriter
from srgan_dist.imaging import images
from srgan_dist.inference.image_files import FileOptions, upscale_file
from srgan_dist.inference.jobs import Job
from srgan_dist.inference.records import Recipe, Records
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.export import export_generator
from srgan_dist.models.files import load_generator, save_generator
from srgan_dist.models.onnx_export import CAN_EXPORT
from srgan_dist.runs import checkpoint
from srgan_dist.tracking.state import TrackingStateFile
from srgan_dist.utils import files
from srgan_dist.utils.profiling import Profiler

CONFIG = SRResNetConfig(blocks=1, channels=4)


def pixels(version: int) -> np.ndarray:
    return np.random.default_rng(version).integers(0, 256, (16, 16, 3), np.uint8)


def generator(folder: Path, version: int) -> None:
    torch.manual_seed(version)
    notes = {"label": "a", "scale": 2, "degradation": "unknown"}
    save_generator(folder / "model.safetensors", CONFIG.build(2).eval(), CONFIG, notes)


def exported(folder: Path, version: int, suffix: str) -> None:
    generator(folder / f"source{version}", version)
    source = folder / f"source{version}" / "model.safetensors"
    kind = "onnx" if suffix == ".onnx" else "safetensors"
    export_generator(load_generator(source), folder / f"exported{suffix}", kind, "other", source)


def upscaled(folder: Path, version: int, suffix: str) -> None:
    images.write(pixels(version), folder / f"source{version}.png")
    upscale_file(
        Job(folder / f"source{version}.png", folder / f"upscaled{suffix}"),
        Upscaler(CONFIG.build(2).eval(), 2), Records(Recipe("a", "0", {})), FileOptions(), lambda items, _: items,
    )  # fmt: skip


def shard(folder: Path, version: int) -> None:
    with ShardWriter(folder, "train-000000.tar", "train", "raw") as writer:
        writer.add("a", pixels(version), pixels(version)[::2, ::2], {})


def manifest(folder: Path, version: int) -> None:
    files.write_json(Manifest(2, "raw", "given", f"v{version}", "test", []).to_json(), folder / "manifest.json")


def fetched(folder: Path, version: int) -> None:
    source, cached = folder / "source.bin", folder / "cached.bin"
    source.write_bytes(bytes([version]) * 100)
    cached.unlink(missing_ok=True)
    remote.fetch(source.as_uri(), cached)


def profile(folder: Path, version: int) -> None:
    profiler = Profiler(1, folder, torch.device("cpu"))
    for _ in range(7):
        torch.ones(version).sum()
        profiler.step()
    profiler.close()


WRITERS: dict[str, Callable[[Path, int], object]] = {
    "json": lambda folder, version: files.write_json({"version": version}, folder / "a.json"),
    "text": lambda folder, version: files.write_text(f"version {version}", folder / "page.html"),
    "checkpoint": lambda folder, version: checkpoint.save(folder, version, {"step": version}, keep=1, best=None),
    "tracking state": lambda folder, version: TrackingStateFile(folder, "sqlite:///a.db").update(run_id=str(version)),
    "image": lambda folder, version: images.write(pixels(version), folder / "image.png"),
    "upscaled png": lambda folder, version: upscaled(folder, version, ".png"),
    "upscaled jpeg": lambda folder, version: upscaled(folder, version, ".jpg"),
    "generator": generator,
    "safetensors export": lambda folder, version: exported(folder, version, ".safetensors"),
    "shard": shard,
    "manifest": manifest,
    "download": fetched,
    "profile": profile,
}
if CAN_EXPORT:
    WRITERS["onnx export"] = lambda folder, version: exported(folder, version, ".onnx")


def contents(folder: Path) -> dict[str, str]:
    """Hash every file that has a name of its own; sources and temporary files are not outputs."""
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
        and not any(part.startswith((".", "source")) for part in f.relative_to(folder).parts)
        and f.suffix != ".lock"
    }


def killed_while_writing(write: Callable[[Path, int], object], folder: Path) -> int:
    """Write in a process that ends when it would rename the output; return its exit code."""
    child = os.fork()
    if child == 0:
        rename = os.replace

        def end(partial: object, target: object) -> None:
            inside = Path(str(target)).relative_to(folder).parts
            if any(part.startswith((".", "source")) for part in inside):  # part of a folder, or an input
                return rename(partial, target)  # pyright: ignore[reportArgumentType]
            os._exit(9)

        files.os.replace = end  # pyright: ignore[reportAttributeAccessIssue]
        write(folder, 2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(root: Path) -> None:
    torch.set_num_threads(1)
    for name, write in WRITERS.items():
        folder = root / name.replace(" ", "-")
        folder.mkdir()
        write(folder, 1)
        before = contents(folder)
        code = killed_while_writing(write, folder)
        after = contents(folder)
        if name == "download":  # a file that is there is not fetched again: it was removed before
            after |= {"cached.bin": before["cached.bin"]} if "cached.bin" not in after else {}
        outcome = "stands" if before and before == after else f"changed from {before} to {after}"
        sys.stdout.write(f"{name}: exit {code}, {outcome}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
