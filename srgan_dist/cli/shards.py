"""`srgan shards verify|index|show|push`: verify, index, show or upload packed shards."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srgan_dist.cli.console import Menu
from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.data.packing.index import index
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.manifest import Split
from srgan_dist.data.shards.manifest_parser import read_manifest
from srgan_dist.data.shards.verify import count_of, layout_faults, one_line
from srgan_dist.imaging import images
from srgan_dist.utils.addresses import public
from srgan_dist.utils.progress import start_logging
from srgan_dist.utils.terminal import ListedError, write_out
from srgan_dist.utils.usage import UsageError


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Read every byte of packed shards, and name the first corrupt sample of each shard."""

    location: Positional[str]
    """Folder or URL of the shards."""


def verify(options: VerifyOptions) -> str:
    """Read every byte, check hashes, members and shapes, and name the first corrupt sample of each shard."""
    shards = ShardLocation(options.location)
    corrupt: list[str] = []
    manifest = shards.manifest
    for shard in manifest.shards:
        file, faults = shards.file(shard, read=True)
        problems = faults or layout_faults(file, shard, manifest.scale, manifest.encoding)
        shards.drop(shard)  # from the cache, if this command downloaded it: the set may be larger than the disk
        if problems:
            corrupt.append(one_line(shards.name(shard.name), shard, problems))
    if corrupt:
        raise ListedError(*corrupt)
    return f"{shards.location}: {len(manifest.shards)} shards are intact, {count_of(manifest)}"


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """Write a manifest for WebDataset tars that another program created."""

    folder: Positional[Path]
    """Folder of WebDataset tars with `KEY.hr.*` and `KEY.lr.*`. Tars named valid* or val* are held out."""

    scale: int | None = None
    """Scale that the tars must have. It is detected by default."""

    source: str = "foreign tars"
    """Origin of the images, for the manifest."""


def write_index(options: IndexOptions) -> str:
    """Write a manifest for tars that another program created."""
    return f"{options.folder}: {count_of(index(options.folder, options.scale, options.source))}"


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Draw HR and LR crops side by side, and their positions in their images."""

    location: Positional[str]
    """Folder or URL of the shards."""

    out: Path = Path("contact-sheet.png")
    """Image file to write."""

    split: Split = "train"
    """Split to show."""

    count: int = 6
    """Number of crops."""

    hr_crop: int = 96
    """Side of a crop in HR pixels."""

    seed: int = 0
    """Seed of a training run. The first crops of that run are shown."""

    degradation: Literal["none", "light", "medium", "real"] = "none"
    """Show instead what this degradation makes of the HR crops, with the parameters of each crop."""


def show(options: ShowOptions) -> str:
    """Draw HR and LR crops side by side, and their positions in their images."""
    for flag, value in (("count", options.count), ("hr-crop", options.hr_crop)):
        if value < 1:
            raise UsageError(f"--{flag} {value} must be at least 1")
    # Imported here because it loads torch, which the other actions do not need.
    from srgan_dist.data.degradations import DegradationConfig
    from srgan_dist.data.loading.contact_sheet import contact_sheet, degradation_sheet
    from srgan_dist.utils.unions import find

    what = options.location, options.split, options.count, options.hr_crop, options.seed
    kind = find(DegradationConfig | None, options.degradation, "--degradation")
    sheet = degradation_sheet(*what, kind()) if kind else contact_sheet(*what)
    images.write(sheet, options.out)
    return f"{options.out}: {options.count} crops of {public(options.location)}"


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Upload packed shards to the Hugging Face Hub, with a data set card."""

    folder: Positional[Path]
    """Folder of packed shards."""

    to: str
    """Repository to upload to: hf://datasets/USER/NAME."""

    license: str = "other"
    """License of the images, as an identifier of the Hub (cc-by-4.0, ...). DIV2K and CelebA are for research only."""

    private: bool = True
    """Create the repository as private. With --no-private, everybody can see it."""


def publish(options: PushOptions) -> str:
    """Upload to the Hugging Face Hub, with a data set card (requires HF_TOKEN)."""
    from srgan_dist.data.packing.hub import push

    manifest = read_manifest(options.folder)
    return f"{push(options.folder, manifest, options.to, options.license, options.private)}: {count_of(manifest)}"


ACTIONS: dict[str, tuple[type[Any], Callable[[Any], str]]] = {
    "verify": (VerifyOptions, verify),
    "index": (IndexOptions, write_index),
    "show": (ShowOptions, show),
    "push": (PushOptions, publish),
}
"""Options and function of each action. The first line of a function's docstring is its description in the help text."""


def main(args: list[str]) -> int:
    """Run `srgan shards ACTION ...`, and return the exit code."""
    rows = {name: (action.__doc__ or "").splitlines()[0] for name, (_, action) in ACTIONS.items()}
    usage = "usage: srgan shards ACTION DIR|URL [flags]"
    menu = Menu(usage, "action", rows, "srgan shards ACTION --help lists the flags of an action.")
    if (code := menu.answer(args)) is not None:
        return code
    options, action = ACTIONS[args[0]]
    start_logging(True)
    write_out(f"{action(parse(options, args[1:], f'srgan shards {args[0]}'))}\n")
    return 0
