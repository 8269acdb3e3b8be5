"""A blind comparison of two networks: crops side by side in shuffled columns, and the key in another file.

    python benchmarks/blind.py --models srresnet-x4-small srgan-x4-small --hr set14/HR_x4 --seed 1 --out blind

Of ten images, the crop with the most detail is shown, magnified twice. Look at `blind.webp`, write down for each row
which column is sharper and which is more natural, and only then open `key.json`: it names the networks of each row,
from left to right. LR is made with MATLAB's bicubic.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from srgan_dist.evaluation.figure import busiest_square
from srgan_dist.imaging.images import read
from srgan_dist.imaging.listing import list_images
from srgan_dist.imaging.resize import crop_to_multiple, downscale
from srgan_dist.inference.upscaler import Upscaler
from srgan_dist.models.files import load_generator
from srgan_dist.models.sources import find_model

ZOOM, GAP = 2, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs=2, required=True, type=Path, help="two generators of the same scale")
    parser.add_argument("--hr", required=True, type=Path, help="folder of HR images")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--side", type=int, default=160, help="of a crop, in HR pixels")
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    generators = [load_generator(find_model(model, None)) for model in options.models]
    scale, upscalers = generators[0].scale, [Upscaler(g.network, g.scale, "cpu") for g in generators]
    names, rng = [str(model) for model in options.models], np.random.default_rng(options.seed)
    files = list_images(options.hr)
    rows, key = [], []
    for index in sorted(rng.choice(len(files), options.images, replace=False)):
        hr = crop_to_multiple(read(files[index]), scale)
        square, order = busiest_square(hr, options.side, scale), rng.permutation(2)
        results = [square.cut(upscalers[i](downscale(hr, scale))) for i in order]
        rows.append(_row(f"{len(rows) + 1}", results, options.side))
        key.append({"image": files[index].name, "columns": [names[i] for i in order]})
    options.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(options.out / "blind.webp", quality=90)
    (options.out / "key.json").write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")


def _row(title: str, results: list[np.ndarray], side: int) -> np.ndarray:
    """Return the crops of one image side by side, magnified, with a number."""
    cell = side * ZOOM
    row = Image.new("RGB", (len(results) * (cell + GAP) + 30, cell + GAP), "white")
    ImageDraw.Draw(row).text((4, cell // 2), title, "black")
    for column, image in enumerate(results):
        large = Image.fromarray(image).resize((image.shape[1] * ZOOM, image.shape[0] * ZOOM), Image.Resampling.BICUBIC)
        row.paste(large, (30 + column * (cell + GAP), 0))
    return np.asarray(row)


if __name__ == "__main__":
    main()
