"""Real-ESRGAN's degradation: ours, batched, beside the usual way, crop by crop with OpenCV and Pillow.

    python benchmarks/degradation.py [--quick] [--crop 256] [--batch 12]

Both do the same work with the parameters of the same crops: USM, two passes of blur, resize, noise and JPEG, and the
last sinc. The OpenCV way runs on as many threads as torch. Ways are interleaved; medians over the rounds are shown,
on one CPU thread by CPU seconds.
"""

import argparse
import io
import statistics
import time

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
    options = parser.parse_args()
    crop, batch = (128, 8) if options.quick else (options.crop, options.batch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    alone = device.type == "cpu" and options.threads == 1  # CPU seconds then, which other work does not change
    clock = time.process_time if alone else time.perf_counter
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    hr = pictures(batch, crop).to(device)
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


def pictures(count: int, side: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, side // 16, side // 16, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return (smooth + 0.1 * torch.rand(count, 3, side, side, generator=rng)).clamp(0, 1)


def by_opencv(images: np.ndarray, config: RealESRGANDegradation, indices: np.ndarray) -> list[np.ndarray]:
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


def resized(image: np.ndarray, side: int, mode: int) -> np.ndarray:
    return cv2.resize(image, (side, side), interpolation=MODES[int(mode)])


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
