"""Real-ESRGAN's degradation: ours, batched, beside the usual way, crop by crop with OpenCV and Pillow.

    python benchmarks/degradation.py [--quick] [--crop 256] [--batch 12]
    python benchmarks/degradation.py --borders [--images DIR] [--count 192]    steps at block borders

Both do the same work with the parameters of the same crops: USM, two passes of blur, resize, noise and JPEG, and the
last sinc. The OpenCV way runs on as many threads as torch. Ways are interleaved; medians over the rounds are shown,
on one CPU thread by CPU seconds.
"""

import argparse
import io
import itertools
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from srgan_dist.data.degradations import RealESRGANDegradation
from srgan_dist.data.degradations.draws import Blur
from srgan_dist.data.degradations.kernels import kernels

SCALE = 4
MODES = {0: cv2.INTER_AREA, 1: cv2.INTER_LINEAR, 2: cv2.INTER_CUBIC}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds instead of a minute")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1, help="of torch and of OpenCV")
    parser.add_argument("--borders", action="store_true", help="compare the steps at borders of 8x8 blocks instead")
    parser.add_argument("--images", type=Path, help="photographs for --borders; made ones by default")
    parser.add_argument("--count", type=int, default=192, help="crops for --borders")
    options = parser.parse_args()
    if options.borders:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
        report_borders(border_steps(large_areas(options.count, options.images), 256, options.batch))
        return
    crop, batch = (128, 8) if options.quick else (options.crop, options.batch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    alone = device.type == "cpu" and options.threads == 1  # CPU seconds then, which other work does not change
    clock = time.process_time if alone else time.perf_counter
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    hr = made_images(batch, crop).to(device)
    numpy_hr = hr.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    config = RealESRGANDegradation()
    degrade = config.build(SCALE, seed=0)
    seconds: dict[str, list[float]] = {
        f"srgan_dist, batched, {device.type}": [],
        "OpenCV + Pillow, crop by crop, cpu": [],
    }
    for round_ in range(3 if options.quick else 9):
        indices = np.arange(round_ * batch, (round_ + 1) * batch, dtype=np.uint64)
        ways = lambda: degrade(hr, indices), lambda: by_opencv(numpy_hr, config, indices)  # noqa: B023
        for name, way in zip(seconds, ways, strict=True):
            started = clock()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(clock() - started)
    report({name: batch / statistics.median(s[1:]) for name, s in seconds.items()}, crop, batch)


def report(rates: dict[str, float], crop: int, batch: int) -> None:
    print(
        f"HR crop {crop}, x{SCALE}, batch {batch}, {torch.get_num_threads()} thread(s); medians of interleaved rounds"
    )
    print(f"{'way':<40}{'crops/s':>10}{'ratio':>8}")
    base = rates["OpenCV + Pillow, crop by crop, cpu"]
    for name, rate in rates.items():
        print(f"{name:<40}{rate:>10.1f}{rate / base:>8.2f}")


AREA = 400
"""Side of what the authors of Real-ESRGAN degrade, in HR pixels; they cut crops of 256 from the result."""


def large_areas(count: int, images: Path | None) -> np.ndarray:
    """Random areas of photographs, (count, 400, 400, 3) in [0, 1]; smaller ones are mirrored at their lower right."""
    rng, areas = np.random.default_rng(0), []
    files = sorted(images.rglob("*.[jp][pn]g")) if images else []
    made = [] if images else made_images(min(count, 48), AREA).permute(0, 2, 3, 1).numpy()
    sources = itertools.cycle(files or range(len(made)))
    for source in itertools.islice(sources, count):
        image = (
            made[source] if isinstance(source, int) else np.asarray(Image.open(source).convert("RGB"), np.float32) / 255
        )
        below, right = (max(0, AREA - n) for n in image.shape[:2])
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        y, x = (int(rng.integers(0, n - AREA + 1)) for n in image.shape[:2])
        areas.append(image[y : y + AREA, x : x + AREA])
    return np.stack(areas)


CUTS = 16
"""Crops from each degraded area, so that the places of the crops hardly add to the differences."""


def border_steps(areas: np.ndarray, crop: int, batch: int) -> dict[str, np.ndarray]:
    """Mean steps between neighboring columns and rows of LR, by position in a block of 8 from the corner, (8,) levels.

    The authors' way degrades each area with OpenCV and Pillow. Both ways cut crops from the area at random places.
    """
    config = RealESRGANDegradation()
    degrade, rng = config.build(SCALE, seed=0), np.random.default_rng(1)
    ways: dict[str, list[np.ndarray]] = {"the authors' way": [], "ours": [], "ours, --degradation.margin 0": []}
    for first in range(0, len(areas), batch):
        part, indices = areas[first : first + batch], np.arange(first, min(first + batch, len(areas)), dtype=np.uint64)
        hr = torch.from_numpy(part).permute(0, 3, 1, 2)
        ways["the authors' way"] += cuts(by_opencv(part, config, indices, torchs=True), crop // SCALE, rng)
        ways["ours"] += cuts([*degrade(hr, indices).lr.permute(0, 2, 3, 1).numpy()], crop // SCALE, rng)
        half = (areas.shape[1] - crop) // 2
        inner = hr[:, :, half : half + crop, half : half + crop]
        ways["ours, --degradation.margin 0"] += [*degrade(inner, indices).lr.permute(0, 2, 3, 1).numpy()]
    return {name: steps_by_position(np.stack(images)) for name, images in ways.items()}


def cuts(images: list[np.ndarray], side: int, rng: np.random.Generator) -> list[np.ndarray]:
    places = rng.integers(0, images[0].shape[0] - side + 1, (len(images), CUTS, 2)).tolist()
    return [
        image[y : y + side, x : x + side] for image, of_image in zip(images, places, strict=True) for y, x in of_image
    ]


def steps_by_position(images: np.ndarray) -> np.ndarray:
    steps = [np.abs(np.diff(images * 255, axis=axis)).mean(axis=(0, 3 - axis, 3)) for axis in (1, 2)]
    return np.array([np.mean([s[k::8].mean() for s in steps]) for k in range(8)])  # number 7 is across the border


def report_borders(steps: dict[str, np.ndarray]) -> None:
    print(
        "mean step in LR, in levels: at block borders from the corner, elsewhere, their ratio; against the authors' way"
    )
    wanted = next(iter(steps.values()))
    for name, step in steps.items():
        border, inside = step[7], step[:7].mean()
        print(f"{name:<32}{border:>8.2f}{inside:>8.2f}{border / inside:>8.3f}{border / wanted[7]:>8.3f}")


def made_images(count: int, side: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, side // 16, side // 16, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return (smooth + 0.1 * torch.rand(count, 3, side, side, generator=rng)).clamp(0, 1)


def by_opencv(
    images: np.ndarray, config: RealESRGANDegradation, indices: np.ndarray, torchs: bool = False
) -> list[np.ndarray]:
    resized = resized_by_torch if torchs else resized_by_opencv
    draws = config.draw(0, indices)
    blurs = [kernels(Blur(*(torch.from_numpy(np.asarray(t, float)) for t in b))).numpy() for b in
             (draws.first.blur, draws.second.blur, draws.last)]  # fmt: skip
    rng = np.random.default_rng(0)
    out = []
    for j, image in enumerate(images):
        side = image.shape[0]
        x = cv2.filter2D(usm(image), -1, blurs[0][j], borderType=cv2.BORDER_REFLECT_101)
        x = resized(x, max(4, int(side * draws.first.factor[j])), draws.first.mode[j])
        x = through_jpeg(noisy(x, draws.first, j, rng), draws.first.quality[j])
        x = cv2.filter2D(x, -1, blurs[1][j], borderType=cv2.BORDER_REFLECT_101)
        x = resized(x, max(4, int(side // SCALE * draws.second.factor[j])), draws.second.mode[j])
        x = noisy(x, draws.second, j, rng)
        if not draws.jpeg_last[j]:
            x = through_jpeg(x, draws.second.quality[j])
        x = resized(x, side // SCALE, draws.last_mode[j])
        x = cv2.filter2D(x, -1, blurs[2][j], borderType=cv2.BORDER_REFLECT_101)
        out.append(through_jpeg(x, draws.second.quality[j]) if draws.jpeg_last[j] else x)
    return out


def usm(image: np.ndarray) -> np.ndarray:
    blurred = cv2.GaussianBlur(image, (51, 51), 0)
    residual = image - blurred
    softly = cv2.GaussianBlur((np.abs(residual) * 255 > 10).astype(np.float32), (51, 51), 0)
    return softly * np.clip(image + 0.5 * residual, 0, 1) + (1 - softly) * image


def resized_by_opencv(image: np.ndarray, side: int, mode: int) -> np.ndarray:
    return cv2.resize(image, (side, side), interpolation=MODES[int(mode)])


def resized_by_torch(image: np.ndarray, side: int, mode: int) -> np.ndarray:
    """The authors' choice; its area filter differs from OpenCV's."""
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    done = torch.nn.functional.interpolate(planes, size=(side, side), mode=("area", "bilinear", "bicubic")[int(mode)])
    return done[0].permute(1, 2, 0).numpy()


def noisy(image: np.ndarray, stage: object, j: int, rng: np.random.Generator) -> np.ndarray:
    shape = (*image.shape[:2], 1) if stage.gray[j] else image.shape
    if stage.gaussian[j]:
        return np.clip(image + stage.strength[j] * rng.standard_normal(shape, np.float32), 0, 1)
    base = image @ np.float32([0.2989, 0.587, 0.114]) if stage.gray[j] else image
    base = np.clip((base * 255).round(), 0, 255).reshape(shape) / 255
    counts = 2 ** np.ceil(np.log2(len(np.unique(base))))
    noise = rng.poisson(base * counts) / counts - base
    return np.clip(image + stage.strength[j] * noise, 0, 1).astype(np.float32)


def through_jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file), np.float32) / 255


if __name__ == "__main__":
    main()
