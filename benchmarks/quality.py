"""Time to quality: PSNR-Y against seconds of training, FLOP and images, with records as speedruns keep them.

    python benchmarks/quality.py train cpu-minutes --train bsds400/train --out DIR [--seeds 0 1 2]
    python benchmarks/quality.py choose cpu-minutes --test bsds400/test --out DIR      while looking for a recipe
    python benchmarks/quality.py final cpu-minutes --test set5 set14 --out DIR         once, when it is found
    python benchmarks/quality.py table --out DIR                                       records, and the picture

`quality_tracks.py` names the recipes, which are ordinary commands of `train.py`, and the goals of the two tracks:
`cpu` (two cores, 200 photographs, any network) and `gpu` (one GPU, DIV2K, the SRGAN paper's SRResNet). A run keeps
checkpoints of its averaged weights, so that one run gives the entire curve. Recipes are chosen on `choose`; the test
sets are looked at once per final recipe, and every recipe that was tried is listed with its numbers.

The clock counts training: data, steps, metrics and checkpoints, from the first step to the goal. It does not count
imports, packing, compilation (the first line of metrics is counted at the pace of the second) and evaluation. Steps are
deterministic on a CPU, so that a run on a busy machine can be timed by a short one that had the machine to itself:
`--pace SECONDS` per step; the table says which runs were.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality_table import write_table
from quality_tracks import RECIPES, Recipe

from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.manifest import MANIFEST
from srgan_dist.evaluation.evaluation_set import open_evaluation_set
from srgan_dist.evaluation.metrics import luma, psnr
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import load_generator
from srgan_dist.runs.metric_names import CROPS_PER_S
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.config import read_config
from srgan_dist.training.flops import MetaStep, step_flops
from srgan_dist.training.losses import VanillaGAN
from srgan_dist.training.steps import Losses

ROOT = Path(__file__).parent.parent
CHOOSE_IMAGES = 40
"""Images of the folder that recipes are chosen on."""
CHECKPOINTS = 20
"""Checkpoints of a run, which are the points of its curve."""


def main() -> int:
    options = parse()
    if options.action == "table":
        print(write_table(options.out, options.picture))
        return 0
    recipe = RECIPES[options.recipe]
    for seed in options.seeds:
        run = options.out / options.recipe / f"seed-{seed}"
        if options.action == "train":
            train(options, recipe, run, seed)
        else:
            evaluate(options, run)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "choose", "final", "table"))
    parser.add_argument("recipe", nargs="?", choices=RECIPES)
    parser.add_argument("--train", type=Path, help="folder of HR images, or of packed shards")
    parser.add_argument("--test", type=Path, nargs="+", help="folders of held-out images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, help="of the run, instead of the recipe's")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores by default")
    parser.add_argument("--pace", type=float, help="seconds per step of a run that had the machine to itself")
    parser.add_argument("--picture", type=Path, help="where to write the picture; OUT/curves.png by default")
    parser.add_argument("--flags", nargs="*", default=[], help="further flags of train.py: NAME=VALUE")
    options = parser.parse_args()
    if options.action != "table" and options.recipe is None:
        parser.error(f"name a recipe: {', '.join(RECIPES)}")
    needed = {"train": "train", "choose": "test", "final": "test"}.get(options.action)
    if needed and getattr(options, needed) is None:
        parser.error(f"{options.action} needs --{needed} DIR")
    return options


def train(options: argparse.Namespace, recipe: Recipe, run: Path, seed: int) -> None:
    """Train one seed with `train.py`, or resume it; write `run.json` with everything but the scores."""
    steps = options.steps or recipe.steps
    command = [
        "train.py", recipe.preset, *recipe.flags, f"--pretrain.steps={steps}", "--adversarial.steps=0",
        f"--data.shards={shards(options.train, options.out, recipe.scale)}", f"--seed={seed}", f"--run-dir={run}",
        f"--log-every={max(1, min(100, steps // CHECKPOINTS))}", f"--checkpoint.every={max(1, steps // CHECKPOINTS)}",
        f"--checkpoint.keep={2 * CHECKPOINTS}", "--validation.images=0", "--tracking.enabled=False",
        *([f"--threads={options.threads}"] if options.threads else []), *(f"--{flag}" for flag in options.flags),
    ]  # fmt: skip
    if RunDir.state_of(run) != "done":
        print(" ".join(command), flush=True)
        paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
        subprocess.run([sys.executable, *command], cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, check=True)
    facts = describe(run, options.recipe, seed, command)
    (run / "run.json").write_text(json.dumps(facts | {"pace": options.pace}, indent=1))
    print(
        f"{run}: {facts['steps']} steps in {facts['seconds'][-1]:.0f} s, {facts['seconds_per_step'] * 1000:.1f} ms/step"
    )


def shards(images: Path, out: Path, scale: int) -> Path:
    """Pack a folder of images; return the shards."""
    if (images / MANIFEST).exists():
        return images.resolve()
    if not (out / "shards" / MANIFEST).exists():
        pack(FolderSource(root=images), PackOptions(out=out / "shards", scale=scale, valid=0))
    return (out / "shards").resolve()


def describe(run: Path, recipe: str, seed: int, command: list[str]) -> dict[str, Any]:
    """Return what a finished run did: its clock at each line of metrics, sizes, command, commit and machine."""
    config = read_config(run / "config.json")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    windows = [line for line in lines if CROPS_PER_S in line]
    batch, steps, seconds = config.data.batch * config.accumulate, [0], [0.0]
    paces = [window[CROPS_PER_S] for window in windows]
    for window, pace in zip(windows, [*paces[1:2], *paces[1:]] or paces, strict=True):
        seconds.append(seconds[-1] + (window["step"] - steps[-1]) * batch / pace)
        steps.append(window["step"])
    network = config.generator.build(config.scale)
    losses = Losses(config.loss.pixel, None, VanillaGAN(), config.loss.weights)
    session = json.loads((run / "environment.json").read_text())["sessions"][-1]
    return {
        "recipe": recipe, "seed": seed, "steps": steps[-1], "curve_steps": steps, "seconds": seconds,
        "seconds_per_step": float(np.median(np.diff(seconds) / np.diff(steps))),
        "crops_per_step": batch, "hr_crop": config.data.hr_crop,
        "parameters": sum(p.numel() for p in network.parameters()),
        "flop_per_step": step_flops(MetaStep(network, None, losses), batch, config.data.hr_crop, config.scale),
        "command": command, "commit": session["git"].get("commit", "")[:10], "precision": session["precision"],
        "torch": torch.__version__, "threads": config.threads or os.cpu_count(), "machine": machine(session["device"]),
    }  # fmt: skip


def machine(device: dict[str, Any]) -> str:
    if device["type"] == "cuda":
        return str(device["name"])
    found = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next((line.split(":")[1].strip() for line in found.splitlines() if line.startswith("model name")), "")
    extras = [kind for kind in ("amx_bf16", "avx512_bf16") if kind in found]
    return f"{name or platform.processor()}, {os.cpu_count()} cores, {extras[0] if extras else 'no bf16'}"


def evaluate(options: argparse.Namespace, run: Path) -> None:
    """Add the PSNR-Y of every checkpoint on the test folders to `run.json`; what is known is not computed again."""
    facts = json.loads((run / "run.json").read_text())
    scores = facts.setdefault("scores", {})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for folder in options.test:
        data = open_evaluation_set(folder, read_config(run / "config.json").scale)
        count = min(data.count, CHOOSE_IMAGES) if options.action == "choose" else data.count
        pairs = [data.read(i) for i in range(count)]
        curve = scores.setdefault("choose" if options.action == "choose" else folder.name, {})
        for checkpoint in sorted((run / "checkpoints").glob("step-*")):
            step = str(int(checkpoint.name.split("-")[1]))
            if step not in curve:
                model = load_generator(checkpoint)
                upscale = Upscaler(model.network, model.scale, device)
                inside = slice(model.scale, -model.scale)
                found = [psnr(luma(upscale(pair.lr)[inside, inside]), luma(pair.hr[inside, inside])) for pair in pairs]
                curve[step] = float(np.mean(found))
                (run / "run.json").write_text(json.dumps(facts, indent=1))
        print(f"{run} on {folder.name}: " + ", ".join(f"{step} {value:.2f}" for step, value in curve.items()))


if __name__ == "__main__":
    sys.exit(main())
