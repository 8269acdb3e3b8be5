"""Gather what a machine without network needs for `notebook_baseline.py` in one small folder.

    python benchmarks/carry.py --images DIR DIR --vgg VGG19.safetensors --out .carry

`OUT/images` receives the images as they are. `OUT/vgg.safetensors` holds the convolutions of a file in VGG19's layout,
rounded to 8 bits per output channel, without those that are identities (VGG16 in VGG19's layout has three): a quarter
of the size in float32. `expand` restores a file in VGG19's layout from it.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from srgan_dist.imaging.listing import list_images

NOTE = "rounded_vgg"
"""Key of the note in the header, with the names of the identities and their channels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders")
    parser.add_argument("--vgg", type=Path, required=True, help="a file in VGG19's layout")
    parser.add_argument("--out", type=Path, default=Path(".carry"))
    options = parser.parse_args()
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    for folder in options.images:
        for file in list_images(folder):
            shutil.copy(file, options.out / "images" / file.name)
    round_vgg(options.vgg, options.out / "vgg.safetensors")
    size = sum(f.stat().st_size for f in options.out.rglob("*") if f.is_file())
    print(f"{options.out}: {len(list(options.out.glob('images/*')))} images and VGG, {size / 2**20:.1f} MiB")


def round_vgg(source: Path, target: Path) -> None:
    """Write the weights of a file in VGG19's layout rounded to 8 bits, with one factor per output channel."""
    rounded: dict[str, Tensor] = {}
    identities: dict[str, int] = {}
    for name, value in load_file(source).items():
        if value.ndim == 4 and torch.equal(value, identity(len(value)).to(value.dtype)):
            identities[name] = len(value)
        elif value.ndim == 4:
            factor = value.float().abs().amax(dim=(1, 2, 3)) / 127
            rounded[name] = (value.float() / factor[:, None, None, None]).round().to(torch.int8)
            rounded[f"{name}.factor"] = factor
        else:
            rounded[name] = value
    save_file(rounded, target, metadata={NOTE: json.dumps(identities)})


def expand(source: Path, target: Path) -> Path:
    """Write a rounded file in VGG19's layout in float16; return the source itself if it is not rounded."""
    if source.suffix != ".safetensors":
        return source
    with safe_open(source, "pt") as file:
        note = (file.metadata() or {}).get(NOTE)
    if note is None:
        return source
    rounded = load_file(source)
    weights = {name: identity(channels).half() for name, channels in json.loads(note).items()}
    for name, value in rounded.items():
        if value.ndim == 4:
            weights[name] = (value * rounded[f"{name}.factor"][:, None, None, None]).half()
        elif not name.endswith(".factor"):
            weights[name] = value.half()
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, target)
    return target


def identity(channels: int) -> Tensor:
    """Return the 3x3 convolution that changes nothing."""
    return torch.nn.init.dirac_(torch.empty(channels, channels, 3, 3))


if __name__ == "__main__":
    main()
