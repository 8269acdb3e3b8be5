"""The largest batch for cards of 8 to 80 GB: estimated on any machine, measured on a GPU.

    python benchmarks/memory.py

The estimate counts the bytes that one step keeps for its backward passes on networks without memory, and adds what
stays from step to step, the largest tensors in work and the driver's own share.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from step import meta_step

from srgan_dist.training.flops import state_bytes, step_bytes
from srgan_dist.training.presets import preset

CARDS = (8, 16, 24, 80)
_DRIVER = 0.7e9
"""Context, cuDNN and cuBLAS workspaces."""
_IN_WORK = 1.15
"""Gradients of activations and workspaces on top of what is kept."""


def main() -> None:
    print("| run | precision | MB a crop | " + " | ".join(f"{card} GB" for card in CARDS) + " |")
    print("|:--|:--|--:|" + "--:|" * len(CARDS))
    for name in ("srgan-x4", "esrgan-x4", "real-esrgan-x4"):
        for dtype in (torch.float32, torch.bfloat16):
            print(row(name, dtype, recompute=False))
    for name in ("esrgan-x4", "real-esrgan-x4"):
        print(row(name, torch.bfloat16, recompute=True))
    if torch.cuda.is_available():
        measure()


def row(name: str, dtype: torch.dtype, recompute: bool) -> str:
    config = preset(name)
    if recompute:
        config = replace(config, generator=replace(config.generator, recompute=True))
    fixed, per_crop = estimate(config, dtype)
    batches = [int((card * 1e9 - _DRIVER - fixed) // per_crop) for card in CARDS]
    shown = " | ".join(str(batch) if batch > 0 else "none" for batch in batches)
    precision = "bf16" if dtype == torch.bfloat16 else "fp32"
    how = f"{name}, crop {config.data.hr_crop}{', --generator.recompute' if recompute else ''}"
    return f"| {how} | {precision} | {per_crop / 1e6:.0f} | {shown} |"


def estimate(config: Any, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes that do not depend on the batch, and bytes a crop."""
    ghost = meta_step(config)
    two, four = (step_bytes(ghost, n, config.data.hr_crop, config.scale, dtype) for n in (2, 4))
    content = ghost.losses.content
    fixed = state_bytes((ghost.generator, ghost.discriminator), ghost.generator, content)
    return fixed, (four - two) / 2 * _IN_WORK


def measure() -> None:
    """Bytes a crop and the largest power of two that fits this card, by running steps."""
    script = Path(__file__).with_name("step.py")
    for model in ("srgan", "esrgan"):
        batch = 16
        while True:
            args = ["--model", model, "--ways", "ours-bf16", "--rounds", "1", "--steps", "2", "--batch", str(batch)]
            done = subprocess.run([sys.executable, str(script), *args], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{model}: batch {batch} does not fit, {batch // 2} does")
                break
            print(f"{model}, batch {batch}: {done.stdout.splitlines()[-1]}")
            batch *= 2


if __name__ == "__main__":
    main()
