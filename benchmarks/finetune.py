"""What fine-tuning does to a finished generator: the preset `finetune-real-esrgan-x4` beside a run with a pixel phase.

    python benchmarks/finetune.py --weights RealESRGAN_x4plus.safetensors --vgg VGG.safetensors --divisor 100 \\
        --train bsds400/train --test bsds400/test --set14 set14 --out DIR [--steps 200]

Both recipes start from the same generator and learn one degradation: blur of 1.2 HR pixels, bicubic, JPEG 30. The table
shows whether the generator moved (relative change of its weights), whether it learned (PSNR-Y and VGG distance on
held-out images of that degradation), and what it kept (NIQE and mean color of Set14 without that degradation). Each
recipe is one ordinary command, which is printed; existing results are kept. The networks are large for a CPU: where
other programs run, too, one thread (`OMP_NUM_THREADS=1`) and `--precision bf16` are the fastest.
"""

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.evaluation.metrics import scores
from srgan_dist.evaluation.niqe import niqe
from srgan_dist.imaging.images import Pixels, read
from srgan_dist.imaging.listing import list_images
from srgan_dist.imaging.resize import crop_to_multiple, downscale
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import load_generator, read_weights
from srgan_dist.models.state_dicts import renamed
from srgan_dist.models.vgg import load_vgg
from srgan_dist.runs.run_dir import RunDir

ROOT = Path(__file__).parent.parent
SCALE, BLUR, QUALITY = 4, 1.2, 30
HELD_OUT = 24
"""Test images of the degradation."""


class Report(NamedTuple):
    """What one generator does; means over images."""

    psnr_y: float
    vgg: float
    niqe: float
    colors: list[list[float]]
    """Mean color of each image of Set14, in levels of 255."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("weights", "vgg", "train", "test", "set14", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--divisor", type=float, default=1.0, help="of the VGG's features")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["no", "bf16"], default="no", help="of training and measurements")
    parser.add_argument("--only", nargs="*", help="names of recipes; all of them by default")
    parser.add_argument("--flags", nargs="*", default=[], help="further flags of the fine-tuning recipe: NAME=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shards = make_shards(options.train, options.test, options.out)
    recipes = {n: flags for n, flags in make_recipes(options).items() if not options.only or n in options.only}
    models = {"start": options.weights}
    for name, flags in recipes.items():
        models[name] = options.out / name
        if RunDir.state_of(models[name]) != "done":
            train([*flags, "--data.shards", str(shards), "--run-dir", str(models[name])])
    print(table(options, models))


def make_recipes(options: argparse.Namespace) -> dict[str, list[str]]:
    common = [
        f"--weights={options.weights}", f"--loss.content.weights={options.vgg}",
        f"--loss.content.divisor={options.divisor}", "--data.hr-crop=128", "--data.batch=1",
        f"--mixed-precision={options.precision}",
        f"--threads={options.threads}", "--log-every=20", "--validation.images=0", "--tracking.enabled=False",
    ]  # fmt: skip
    finetune = [
        "finetune-real-esrgan-x4", *common, "--degradation.type=none", f"--adversarial.steps={options.steps}",
    ]  # fmt: skip
    return {
        "finetune": finetune + [f"--{flag}" for flag in options.flags],
        "pixel": ["esrgan-x4", *common, f"--pretrain.steps={options.steps}", "--adversarial.steps=0"],
    }


def train(arguments: list[str]) -> None:
    command = [sys.executable, "train.py", *arguments]
    print(" ".join(command), flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def make_shards(train_images: Path, test_images: Path, out: Path) -> Path:
    """Write pairs of the degradation as PNG files in HR and LR folders, and pack them."""
    if not (out / "shards").exists():
        for split, images in (("train", list_images(train_images)), ("test", list_images(test_images)[:HELD_OUT])):
            for file in images:
                hr = crop_to_multiple(read(file), SCALE)
                for kind, image in (("HR", hr), ("LR", degrade(hr))):
                    target = out / split / kind / f"{file.stem}.png"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(image).save(target)
        pack(FolderSource(root=out / "train"), PackOptions(out=out / "shards", scale=SCALE, valid=0))
    return out / "shards"


def degrade(hr: Pixels) -> Pixels:
    blurred = np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(BLUR)))
    file = io.BytesIO()
    Image.fromarray(downscale(blurred, SCALE)).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file))


def table(options: argparse.Namespace, models: dict[str, Path]) -> str:
    reports = {name: cached(options, name, model) for name, model in models.items()}
    start = reports["start"]
    rows = [
        "| | weights moved | PSNR-Y | VGG distance | Set14 NIQE | Set14 color drift, mean (largest) |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for name, r in reports.items():
        drift = np.abs(np.subtract(r.colors, start.colors))
        moved = relative_change(options.weights, models[name])
        rows.append(
            f"| {name} | {moved:.1e} | {r.psnr_y:.2f} ({r.psnr_y - start.psnr_y:+.2f}) | {r.vgg:.4f} "
            f"({r.vgg / start.vgg - 1:+.1%}) | {r.niqe:.2f} ({r.niqe - start.niqe:+.2f}) | "
            f"{drift.mean():.2f} ({drift.max():.2f}) |"
        )
    return "\n".join(rows)


def cached(options: argparse.Namespace, name: str, model: Path) -> Report:
    file = options.out / f"{name}.json"
    if not file.exists():
        file.write_text(json.dumps(measure(options, model)))
    return Report(*json.loads(file.read_text("utf-8")))


def measure(options: argparse.Namespace, model: Path) -> Report:
    opened = load_generator(model)
    upscale = Upscaler(opened.network, opened.scale, precision=options.precision)
    features = load_vgg("vgg19", ["conv2_2", "conv3_4", "conv4_4"], options.vgg)
    pairs = [
        (upscale(read(lr)), read(options.out / "test/HR" / lr.name)) for lr in list_images(options.out / "test/LR")
    ]
    quality = np.mean([scores(sr, hr, border=SCALE)["psnr_y"] for sr, hr in pairs])
    distance = np.mean([vgg_distance(features, sr, hr) / options.divisor for sr, hr in pairs])
    set14 = [upscale(read(file)) for file in list_images(options.set14 / "LR_x4")]
    natural = [n for image in set14 if (n := niqe(image, min_blocks=4)) is not None]
    return Report(
        float(quality), float(distance), float(np.mean(natural)), [i.mean(axis=(0, 1)).tolist() for i in set14]
    )


@torch.no_grad()
def vgg_distance(features: Callable[[Tensor], tuple[Tensor, ...]], sr: Pixels, hr: Pixels) -> float:
    """Return the mean absolute difference of the features of two images, averaged over the layers."""
    one, other = (features(torch.from_numpy(i.copy()).permute(2, 0, 1)[None] / 255) for i in (sr, hr))
    return float(np.mean([(a - b).abs().mean() for a, b in zip(one, other, strict=True)]))


def relative_change(before: Path, after: Path) -> float:
    """Return |after - before| / |before| over all weights."""
    old, new = renamed(read_weights(before)), renamed(read_weights(after))
    moved = sum(float((new[k].float() - old[k].float()).pow(2).sum()) for k in old)
    return (moved / sum(float(v.float().pow(2).sum()) for v in old.values())) ** 0.5


if __name__ == "__main__":
    main()
