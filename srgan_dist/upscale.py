"""Enlarges picture files with a trained generator."""

import logging
from dataclasses import dataclass
from pathlib import Path

from srgan_dist import pictures
from srgan_dist.config import Positional
from srgan_dist.export import load_generator
from srgan_dist.group import Track
from srgan_dist.inference import super_resolve

log = logging.getLogger("srgan_dist")


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """What is enlarged, and where it goes."""

    source: Positional[Path]
    """A picture, or a folder of pictures."""

    target: Positional[Path]
    """A file for a picture, a folder for a folder."""

    model: Path
    """An exported generator (.safetensors) or a run directory."""


def upscale(options: UpscaleOptions, track: Track, device: str) -> int:
    """Enlarges every picture and returns how many failed, each named in the log."""
    model = load_generator(options.model)
    network = model.network.to(device)
    failed = 0
    for source, target in track(_jobs(options.source, options.target), "upscaling"):
        try:
            pictures.write(super_resolve(network, pictures.read(source)), target)
        except ValueError as error:
            failed += 1
            log.error("%s", error)
    return failed


def _jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    if source.is_dir():
        return [(f, target / f"{f.stem}.png") for f in pictures.list_pictures(source)]
    return [(source, target / f"{source.stem}.png" if target.is_dir() else target)]
