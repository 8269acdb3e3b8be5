"""Image files of every kind in every format that has it, written by libraries other than the reader."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 37, 50
_RNG = np.random.default_rng(16)


def _smooth(channels: int, peak: int) -> np.ndarray:
    """Something between noise and a flat color, with every value range used."""
    coarse = _RNG.random((6, 8, channels), np.float32)
    fine = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR).reshape(HEIGHT, WIDTH, channels)
    return (fine * peak).round().astype(np.uint8 if peak == 255 else np.uint16)


RGBA8, RGBA16 = _smooth(4, 255), _smooth(4, 65535)
RGBA8[:9, :9, 3], RGBA16[:9, :9, 3] = 0, 0
CMYK = _smooth(4, 255)
INDEX = (RGBA8[:, :, 0] // 16).astype(np.uint8)
PALETTE = _RNG.integers(0, 256, (16, 3), np.uint8)
CLEAR = 5
"""The transparent color of the palette."""
FLOAT = RGBA16[:, :, :3].astype(np.float32) / 65535


def naive_rgb(cmyk: np.ndarray) -> np.ndarray:
    inks = cmyk.astype(float) / 255
    return ((1 - inks[:, :, :3]) * (1 - inks[:, :, 3:]) * 255).round()


VALUES: dict[str, tuple[np.ndarray, np.ndarray | None]] = {
    "L": (RGBA8[:, :, :1], None),
    "LA": (RGBA8[:, :, :1], RGBA8[:, :, 3]),
    "P": (PALETTE[INDEX], None),
    "P+tRNS": (PALETTE[INDEX], np.where(INDEX == CLEAR, 0, 255)),
    "RGB": (RGBA8[:, :, :3], None),
    "RGBA": (RGBA8[:, :, :3], RGBA8[:, :, 3]),
    "CMYK": (naive_rgb(CMYK), None),
    "I;16": (RGBA16[:, :, :1], None),
    "RGB16": (RGBA16[:, :, :3], None),
    "RGBA16": (RGBA16[:, :, :3], RGBA16[:, :, 3]),
    "float": (RGBA16[:, :, :3], None),
}
"""What every kind contains: pixels and alpha."""


def stored(kind: str) -> np.ndarray:
    """The samples of a kind, without palettes."""
    pixels, alpha = VALUES[kind]
    if kind == "CMYK":
        return CMYK
    if kind == "float":
        return FLOAT
    samples = pixels if alpha is None else np.dstack([pixels, alpha])
    return np.ascontiguousarray(samples.squeeze())


def pillow(kind: str) -> Image.Image:
    if kind not in ("P", "P+tRNS"):
        return Image.fromarray(stored(kind), "CMYK" if kind == "CMYK" else None)
    image = Image.fromarray(INDEX, "P")
    image.putpalette(PALETTE.tobytes())
    if kind == "P+tRNS":
        image.info["transparency"] = CLEAR
    return image


def by_pillow(kind: str, file: Path, **options: object) -> None:
    image = pillow(kind)
    image.save(file, **image.info, **options)


def by_opencv(kind: str, file: Path, *options: int) -> None:
    samples = stored(kind)
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(samples.shape[2] if samples.ndim == 3 else 1)
    assert cv2.imwrite(str(file), samples if order is None else cv2.cvtColor(samples, order), list(options))


def png(kind: str, file: Path) -> None:
    (by_pillow if kind in ("LA", "P", "P+tRNS") else by_opencv)(kind, file)


def bmp(kind: str, file: Path) -> None:
    (by_opencv if kind == "RGBA" else by_pillow)(kind, file)  # Pillow writes no mask for alpha


def jpeg(kind: str, file: Path) -> None:
    by_pillow(kind, file, quality=100, subsampling=0)


def avif(kind: str, file: Path) -> None:
    file.write_bytes(imagecodecs.avif_encode(stored(kind), level=100))


def jpeg2000(kind: str, file: Path) -> None:
    file.write_bytes(imagecodecs.jpeg2k_encode(stored(kind), level=0, codecformat="jp2"))


def webp(kind: str, file: Path) -> None:
    file.write_bytes(imagecodecs.webp_encode(stored(kind), lossless=True))


def tiff(kind: str, file: Path, **options: object) -> None:
    if kind in ("P", "P+tRNS"):
        colors = np.zeros((3, 256), np.uint16)
        colors[:, :16] = PALETTE.T.astype(np.uint16) * 257
        tifffile.imwrite(file, INDEX, photometric="palette", colormap=colors, **options)
        return
    photometric = {1: "minisblack", 3: "rgb", 4: "separated"}[4 if kind == "CMYK" else VALUES[kind][0].shape[2]]
    options.setdefault("planarconfig", "contig")
    extra = ["unassalpha"] if VALUES[kind][1] is not None else None
    tifffile.imwrite(file, stored(kind), photometric=photometric, extrasamples=extra, **options)


def planar(kind: str, file: Path) -> None:
    extra = ["unassalpha"] if VALUES[kind][1] is not None else None
    photometric = {1: "minisblack", 3: "rgb", 4: "separated"}[4 if kind == "CMYK" else VALUES[kind][0].shape[2]]
    planes = np.ascontiguousarray(np.moveaxis(stored(kind), 2, 0))
    tifffile.imwrite(file, planes, photometric=photometric, planarconfig="separate", extrasamples=extra)


def white_is_zero(kind: str, file: Path) -> None:
    tifffile.imwrite(file, np.invert(stored(kind)), photometric="miniswhite")


class Format(NamedTuple):
    """A row of the table."""

    suffix: str
    write: Callable[[str, Path], None]
    kinds: tuple[str, ...]
    error: int = 0
    """By how many levels of 8 bits the format itself changes the pixels."""


_TIFF_KINDS = ("L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "RGB16", "RGBA16", "float")
FORMATS: dict[str, Format] = {
    "PNG": Format(".png", png, ("L", "LA", "P", "P+tRNS", "RGB", "RGBA", "I;16", "RGB16", "RGBA16")),
    "JPEG": Format(".jpg", jpeg, ("L", "RGB", "CMYK"), 4),
    "TIFF strips": Format(".tif", lambda k, f: tiff(k, f, rowsperstrip=8), _TIFF_KINDS),
    "TIFF tiles": Format(".tif", lambda k, f: tiff(k, f, tile=(16, 32)), _TIFF_KINDS),
    "TIFF planar": Format(".tif", planar, ("LA", "RGB", "RGBA", "CMYK", "RGB16", "RGBA16", "float")),
    "TIFF LZW": Format(".tif", lambda k, f: tiff(k, f, compression="lzw", predictor=k not in ("P",)), _TIFF_KINDS),
    "TIFF MinIsWhite": Format(".tif", white_is_zero, ("L", "I;16")),
    "WebP": Format(".webp", webp, ("RGB", "RGBA")),
    "BMP": Format(".bmp", bmp, ("L", "P", "RGB", "RGBA")),
    "GIF": Format(".gif", by_pillow, ("L", "P", "P+tRNS")),
    "AVIF": Format(".avif", avif, ("L", "RGB", "RGBA"), 1),
    "TGA": Format(".tga", by_pillow, ("L", "LA", "P", "RGB", "RGBA")),
    "JPEG 2000": Format(".jp2", jpeg2000, ("L", "LA", "RGB", "RGBA", "I;16", "RGB16", "RGBA16")),
}
CASES = [(name, kind) for name, form in FORMATS.items() for kind in form.kinds]
