"""`srgan shards verify|index|show|push`: what can be done with packed shards."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srgan_dist.cli.console import Menu
from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.data.packing.index import index
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.manifest import Split, read_manifest
from srgan_dist.data.shards.verify import count_of, faults, layout_faults, one_line
from srgan_dist.imaging import images
from srgan_dist.utils.progress import start_logging


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Which shards are read through."""

    location: Positional[str]
    """A folder of shards, or their URL."""


def verify(options: VerifyOptions) -> str:
    """read every byte: sha256, members, shapes; the first corrupt sample of each shard is named"""
    place = ShardLocation(options.location)
    found: list[str] = []
    manifest = place.manifest
    for shard in manifest.shards:
        file, _ = place.file(shard)
        wrong = faults(file, shard) or layout_faults(file, shard, manifest.scale, manifest.encoding)
        if wrong:
            found.append(one_line(place.name(shard.name), shard, wrong))
    if found:
        raise ValueError("\n".join(found))
    return f"{options.location}: {len(manifest.shards)} shards are whole, {count_of(manifest)}"


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """Which tars get a manifest."""

    folder: Positional[Path]
    """A folder of WebDataset tars with `KEY.hr.*` and `KEY.lr.*`; those named valid* (or val*) are held out."""

    scale: int | None = None
    """What the tars must have; found out when not given."""

    source: str = "foreign tars"
    """Where the images come from, for the manifest."""


def write_index(options: IndexOptions) -> str:
    """write a manifest for tars that another program made"""
    return f"{options.folder}: {count_of(index(options.folder, options.scale, options.source))}"


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """What the contact sheet shows."""

    location: Positional[str]
    """A folder of shards, or their URL."""

    out: Path = Path("contact-sheet.png")
    """The image that is written."""

    split: Split = "train"
    """Of which split."""

    count: int = 6
    """How many crops."""

    hr_crop: int = 96
    """Side of a crop in HR pixels."""

    seed: int = 0
    """The crops are those with which a run of this seed begins."""


def show(options: ShowOptions) -> str:
    """draw HR and LR crops side by side, and where in its image each was taken"""
    from srgan_dist.data.loading.contact_sheet import (
        contact_sheet,  # loads torch, which the other actions need not wait for
    )

    sheet = contact_sheet(options.location, options.split, options.count, options.hr_crop, options.seed)
    images.write(sheet, options.out)
    return f"{options.out}: {options.count} crops of {options.location}"


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """What is published, and where."""

    folder: Positional[Path]
    """A folder of packed shards."""

    to: str
    """hf://datasets/USER/NAME"""

    license: str = "other"
    """The images' license, by the Hub's short names (cc-by-4.0, ...). DIV2K and CelebA are for research only."""

    private: bool = True
    """Only you can see it."""


def publish(options: PushOptions) -> str:
    """upload to the Hugging Face Hub, with a data-set card (HF_TOKEN gives access)"""
    from srgan_dist.data.packing.hub import push

    manifest = read_manifest(options.folder)
    return f"{push(options.folder, manifest, options.to, options.license, options.private)}: {count_of(manifest)}"


ACTIONS: dict[str, tuple[type[Any], Callable[[Any], str]]] = {
    "verify": (VerifyOptions, verify),
    "index": (IndexOptions, write_index),
    "show": (ShowOptions, show),
    "push": (PushOptions, publish),
}


def main(args: list[str]) -> int:
    """`srgan shards ACTION ...`; returns the exit code."""
    rows = {name: (action.__doc__ or "").splitlines()[0] for name, (_, action) in ACTIONS.items()}
    usage = "usage: srgan shards ACTION DIR|URL [flags]"
    menu = Menu(usage, "action", rows, "srgan shards ACTION --help shows its flags.")
    if (code := menu.answer(args)) is not None:
        return code
    options, action = ACTIONS[args[0]]
    start_logging(True)
    sys.stdout.write(f"{action(parse(options, args[1:], f'srgan shards {args[0]}'))}\n")
    return 0
