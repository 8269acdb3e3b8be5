"""The notebook baseline as plain PyTorch beside this program: same pairs, same steps, same networks, same features.

    python benchmarks/notebook_baseline.py --train DIV2K_train_HR --limit 400 --test set14 --out DIR
    python benchmarks/notebook_baseline.py --train bsds400/train bsds400/test --vgg VGG.safetensors --divisor 1275 \\
        --out DIR [--device cuda] [--concurrent]           trains only
    python benchmarks/notebook_baseline.py --report DIR --test set14 div2k_valid        evaluates, also elsewhere

Configurations: `notebook` (`plain_notebook.py`), `notebook-x2` (the preset), `pretrained` (the preset with two thirds
of the same steps as pixel phase) and `tuned` (the same, with this program's means for short runs: the interpolated skip
connection, L1, cosine schedules, averaged weights, and ESRGAN's loss weights on two layers before the activation). All
of them take the same number of generator steps. Each runs in a process of its own, ours through `train.py`; one that
fails does not stop the others, and finished ones are kept.

`OUT/NAME` receives a configuration's generator, its facts as JSON and its log; `--report` adds `report.md`,
`report.json` and `comparison.webp`. `--work` holds pairs, shards and run directories. `carry.py` makes a small folder
of images and VGG for machines without network, whose VGG file this program expands. Runs that train at the same time
share the device: measure time with a second, short run without `--concurrent`, and pass its folder as `--alone`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from carry import expand
from notebook_report import report
from PIL import Image

from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.manifest import MANIFEST
from srgan_dist.imaging.images import read
from srgan_dist.imaging.listing import list_images
from srgan_dist.imaging.resize import crop_to_multiple, downscale
from srgan_dist.runs.metric_names import CROPS_PER_S, MEMORY

ROOT = Path(__file__).parent.parent
SCALE, BATCH, DIVISOR = 2, 16, 12.75
GENERATOR, PIXEL_GENERATOR, FACTS = "generator.safetensors", "pixel.safetensors", "facts.json"
"""Files of a configuration."""
TUNED = (
    "--generator.interpolated-skip=True", "--loss.pixel=l1", "--ema-decay=0.99", "--pretrain.schedule.type=cosine",
    "--pretrain.schedule.learning-rate=5e-4", "--adversarial.schedule.type=cosine",
    "--adversarial.schedule.learning-rate=2e-4", "--loss.content.distance=l1", "--loss.weights.pixel=0.01",
    "--loss.weights.adversarial=5e-3",
)  # fmt: skip
CONFIGURATIONS = {
    "notebook": "plain PyTorch",
    "notebook-x2": "the preset",
    "pretrained": "the preset, pixel phase first",
    "tuned": "pixel phase first, tuned for short runs",
}
QUICK = (
    "--data.hr-crop=32", "--data.batch=2", "--generator.blocks=1", "--generator.channels=8",
    "--discriminator.channels=4", "--discriminator.dense=8",
)  # fmt: skip
QUICK_PLAIN = (
    "--crop=32", "--batch=2", "--blocks=1", "--channels=8", "--discriminator-channels=4", "--discriminator-dense=8",
    "--workers=1",
)  # fmt: skip


def main() -> int:
    options = parse()
    failed: list[str] = []
    if options.train:
        failed = train(options)
    if options.test:
        print(report(options.report or options.out, options.test, CONFIGURATIONS, options.images, options.alone))
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", help="folders of HR images")
    parser.add_argument("--limit", type=int, help="images to train on, from the first on; all by default")
    parser.add_argument("--test", type=Path, nargs="*", default=[], help="held-out folders; none: only train")
    parser.add_argument("--images", nargs="*", default=[], help="names of the images in the picture")
    parser.add_argument("--vgg", type=Path, help="VGG19's weights (.pth, .safetensors, or of carry.py)")
    parser.add_argument(
        "--divisor", type=float, default=DIVISOR, help="of the features: 12.75 for torchvision's weights"
    )
    parser.add_argument("--layer", default="relu5_4", help="of VGG19")
    parser.add_argument("--steps", type=int, default=1500, help="of the generator in every configuration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("auto", "no", "bf16", "fp16"), default="auto", help="of train.py")
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--concurrent", action="store_true", help="train all configurations at the same time")
    parser.add_argument("--seconds", type=float, default=3600, help="limit for the training of one configuration")
    parser.add_argument("--quick", action="store_true", help="tiny networks, to try everything out")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--work", type=Path, help="folder of pairs, shards and run directories; OUT/work by default")
    parser.add_argument(
        "--alone", type=Path, help="results of a short run without --concurrent, for the time of a step"
    )
    parser.add_argument("--report", type=Path, help="evaluate what was trained into this folder; needs --test")
    options = parser.parse_args()
    if bool(options.train) == bool(options.report) or (options.train and not options.out):
        parser.error("either train with --train DIR --out DIR, or evaluate with --report DIR --test DIR")
    if options.report and not options.test:
        parser.error("--report needs --test DIR")
    return options


def train(options: argparse.Namespace) -> list[str]:
    """Train the configurations that are not finished; return the names of those that failed."""
    options.out.mkdir(parents=True, exist_ok=True)
    options.work = (options.work or options.out / "work").resolve()
    options.out = options.out.resolve()
    make_pairs(options)
    if options.vgg:
        options.vgg = expand(options.vgg.resolve(), options.work / "vgg.safetensors")
    waiting = [name for name in options.only if facts_of(options.out / name).get("steps") != options.steps]
    with ThreadPoolExecutor(len(waiting) if options.concurrent and waiting else 1) as pool:
        succeeded = list(pool.map(partial(run, options=options), waiting))
    return [name for name, good in zip(waiting, succeeded, strict=True) if not good]


def make_pairs(options: argparse.Namespace) -> None:
    """Write the pairs as PNG files in HR and LR folders, and pack them."""
    pairs, shards = options.work / "pairs", options.work / "shards"
    if (shards / MANIFEST).exists():
        return
    began = time.perf_counter()
    files = [f for folder in options.train for f in list_images(folder)][: options.limit]
    for kind in ("HR", "LR"):
        (pairs / kind).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1) if options.device == "cuda" else 1) as pool:
        list(pool.map(partial(make_pair, pairs=pairs), files))
    pack(FolderSource(root=pairs), PackOptions(out=shards, scale=SCALE, valid=0))
    print(f"{len(files)} pairs in {time.perf_counter() - began:.0f} s", flush=True)


def make_pair(file: Path, pairs: Path) -> None:
    hr = crop_to_multiple(read(file), SCALE)
    for kind, image in (("HR", hr), ("LR", downscale(hr, SCALE))):
        Image.fromarray(image).save(pairs / kind / f"{file.stem}.png", compress_level=1)


def run(name: str, options: argparse.Namespace) -> bool:
    """Train one configuration in a process of its own; return whether it finished."""
    folder = options.out / name
    folder.mkdir(exist_ok=True)
    command = plain_command(options) if name == "notebook" else our_command(name, options)
    print(f"{name}: {' '.join(command)}", flush=True)
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if options.device == "cpu" else {}
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    began = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        try:
            failure = subprocess.run(
                command, cwd=options.work, env=os.environ | hidden | {"PYTHONPATH": paths}, stdout=log,
                stderr=subprocess.STDOUT, timeout=options.seconds, check=False,
            ).returncode  # fmt: skip
            if name != "notebook" and not failure:
                collect(name, options)
        except subprocess.TimeoutExpired:
            failure = f"a limit of {options.seconds:.0f} s"
        except (OSError, ValueError, KeyError) as error:
            failure = repr(error)
    facts = facts_of(folder) | {"process_seconds": time.perf_counter() - began, "command": command}
    facts |= {"device": device_name(options.device), "failure": failure, "concurrent": options.concurrent}
    (folder / FACTS).write_text(json.dumps(facts))
    print(f"{name}: {f'FAILED ({failure}), see its log.txt' if failure else 'done'}, {facts['process_seconds']:.0f} s",
          flush=True)  # fmt: skip
    return not failure


def plain_command(options: argparse.Namespace) -> list[str]:
    content = [f"--layer={options.layer}", f"--divisor={options.divisor}"]
    content += [f"--vgg={options.vgg}"] if options.vgg else []
    return [
        sys.executable, str(ROOT / "benchmarks" / "plain_notebook.py"), f"--pairs={options.work / 'pairs'}",
        f"--out={options.out / 'notebook'}",
        f"--steps={options.steps}", f"--seed={options.seed}", f"--device={options.device}", *content,
        *(QUICK_PLAIN if options.quick else ()),
    ]  # fmt: skip


def our_command(name: str, options: argparse.Namespace) -> list[str]:
    pixel = 0 if name == "notebook-x2" else options.steps * 2 // 3
    layers = ("conv3_4", "1.0", "conv4_4", "1.0") if name == "tuned" else (options.layer, "1.0")
    divisor = options.divisor / DIVISOR if name == "tuned" else options.divisor  # ESRGAN's is 1 for torchvision's
    content = [f"--loss.content.divisor={divisor}", "--loss.content.layers", *layers]
    content += [f"--loss.content.weights={options.vgg}"] if options.vgg else []
    return [
        sys.executable, str(ROOT / "train.py"), "notebook-x2", f"--data.shards={options.work / 'shards'}",
        f"--run-dir={run_dir(name, options)}", f"--seed={options.seed}", f"--pretrain.steps={pixel}",
        f"--adversarial.steps={options.steps - pixel}", f"--mixed-precision={options.precision}", *content,
        "--checkpoint.every=1000000", "--validation.images=0", "--tracking.enabled=False",
        f"--log-every={max(1, min(50, options.steps // 3))}",
        *(TUNED if name == "tuned" else ()), *(QUICK if options.quick else ()),
    ]  # fmt: skip


def run_dir(name: str, options: argparse.Namespace) -> Path:
    return options.work / f"{name}-{options.steps}"


def collect(name: str, options: argparse.Namespace) -> None:
    """Copy the generators of a run of ours, and write what their training took."""
    run, folder, batch = run_dir(name, options), options.out / name, 2 if options.quick else BATCH
    shutil.copy(run / "models" / "srgan.safetensors", folder / GENERATOR)
    if (run / "models" / "srresnet.safetensors").exists():
        shutil.copy(run / "models" / "srresnet.safetensors", folder / PIXEL_GENERATOR)
    shutil.copy(run / "metrics.jsonl", folder)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    windows, curve = [line for line in lines if CROPS_PER_S in line], [(0, 0.0)]
    for window in windows:
        step, seconds = curve[-1]
        curve.append((window["step"], seconds + (window["step"] - step) * batch / window[CROPS_PER_S]))
    memory = max(w[MEMORY] for w in windows)
    precision = json.loads((run / "environment.json").read_text())["sessions"][-1]["precision"]
    facts = {"steps": curve[-1][0], "curve": curve[1:], "memory_gib": memory, "precision": precision}
    (folder / FACTS).write_text(json.dumps(facts))


def facts_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FACTS).read_text()) if (folder / FACTS).exists() else {}


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(0) if device == "cuda" else f"CPU, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
