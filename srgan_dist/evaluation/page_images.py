"""The images of a page: WebP inside the page, or in a folder beside it if the page would become too large."""

import base64
import hashlib
import io
import re
from pathlib import Path
from typing import Any

from PIL import Image

from srgan_dist.imaging.images import Pixels
from srgan_dist.utils.files import write_bytes

INLINE_MB = 24
"""Largest page with its images inside, in MB (10^6 bytes)."""
_NAME = re.compile(r"[0-9a-f]{20}\.webp")


class PageImages:
    """Collects the images of a page by number, each of them encoded once."""

    def __init__(self) -> None:
        self._encoded: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._inline_bytes = 0

    def add(self, image: Pixels, lossless: bool = True) -> int:
        """Encode an image (H, W, 3) uint8 RGB, and return its number."""
        out = io.BytesIO()
        options: dict[str, Any] = {"lossless": True, "method": 1} if lossless else {"quality": 80}
        Image.fromarray(image).save(out, "WEBP", **options)
        content = out.getvalue()
        self._inline_bytes += len(content) * 4 // 3  # each use inside the page is a copy
        if content not in self._numbers:
            self._numbers[content] = len(self._encoded)
            self._encoded.append(content)
        return self._numbers[content]

    @property
    def fit_inside(self) -> bool:
        """Whether a page with these images inside is at most `INLINE_MB` large."""
        return self._inline_bytes <= INLINE_MB * 1e6

    def inline(self) -> list[str]:
        """Return the images as data addresses, by number."""
        return ["data:image/webp;base64," + base64.b64encode(content).decode() for content in self._encoded]

    def write(self, folder: Path) -> list[str]:
        """Write the images to a folder and return their file names, by number; remove those of an earlier page.

        The names are hashes of the content, so that a page which is being replaced stays valid until the last moment.

        Raises:
            OSError: an image cannot be written.
        """
        names = [f"{hashlib.sha256(content).hexdigest()[:20]}.webp" for content in self._encoded]
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(names, self._encoded, strict=True):
            write_bytes(content, folder / name)
        return names


def remove_images(folder: Path, keep: list[str]) -> None:
    """Remove the images that `PageImages.write` wrote to a folder, except those to keep; and the folder if it is empty.

    Nothing else in the folder is touched.
    """
    if not folder.is_dir() or folder.is_symlink():
        return
    for file in folder.iterdir():
        if _NAME.fullmatch(file.name) and file.name not in keep:
            file.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
