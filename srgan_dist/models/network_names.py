"""Networks that are opened by name: those that ship with the package, and published ones that are downloaded once.

Importing this does not load torch, so that help texts appear at once.
"""

from typing import NamedTuple

_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"


class ShippedNetwork(NamedTuple):
    """A network that is part of the package."""

    scale: int
    """Upscaling factor."""
    summary: str
    """What it is, in a few words."""


class PublishedNetwork(NamedTuple):
    """A network that others have published."""

    url: str
    """Address of its file."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    size: int
    """Size of the file in bytes."""
    scale: int
    """Upscaling factor."""
    license: str
    """SPDX identifier of the license of the weights."""
    summary: str
    """What it is, in a few words."""


SHIPPED = {
    "srgan-x4-small": ShippedNetwork(4, "a small SRGAN for photographs: natural texture"),
    "srgan-x2-small": ShippedNetwork(2, "a small SRGAN for photographs: natural texture"),
    "srresnet-x4-small": ShippedNetwork(4, "a small SRResNet for photographs: closest to the original, smoother"),
    "srresnet-x2-small": ShippedNetwork(2, "a small SRResNet for photographs: closest to the original, smoother"),
}
"""The networks in `shipped/`, by name. Each has its model card beside it."""

PUBLISHED = {
    "RealESRGAN_x4plus": PublishedNetwork(
        f"{_REAL_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth",
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1", 67_040_989, 4, "BSD-3-Clause",
        "photographs with noise, blur and JPEG artifacts",
    ),
    "RealESRGAN_x2plus": PublishedNetwork(
        f"{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth",
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb", 67_061_725, 2, "BSD-3-Clause",
        "photographs with noise, blur and JPEG artifacts",
    ),
    "RealESRNet_x4plus": PublishedNetwork(
        f"{_REAL_ESRGAN}/v0.1.1/RealESRNet_x4plus.pth",
        "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df", 67_040_989, 4, "BSD-3-Clause",
        "the same without a GAN: smoother",
    ),
    "RealESRGAN_x4plus_anime_6B": PublishedNetwork(
        f"{_REAL_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da", 17_938_799, 4, "BSD-3-Clause",
        "drawings",
    ),
    "realesr-animevideov3": PublishedNetwork(
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-animevideov3.pth",
        "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d", 2_504_012, 4, "BSD-3-Clause",
        "frames of animation; small and fast",
    ),
    "realesr-general-x4v3": PublishedNetwork(
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-x4v3.pth",
        "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292", 4_885_111, 4, "BSD-3-Clause",
        "photographs; small and fast",
    ),
    "realesr-general-wdn-x4v3": PublishedNetwork(
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-wdn-x4v3.pth",
        "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca", 4_885_111, 4, "BSD-3-Clause",
        "the same with less denoising",
    ),
}  # fmt: skip
"""Published networks by name. Releases on GitHub list no checksums for files of that time; these are the SHA-256 values
that independent projects record for the same addresses."""


def default_network(out_scale: float | None = None) -> str:
    """Return the name of the shipped network to upscale with if the user names none.

    Args:
        out_scale: Ratio of the result's sides to the image's; None for x4.
    """
    return "srgan-x2-small" if out_scale is not None and out_scale <= 2 else "srgan-x4-small"
