"""The image files in a folder, and a count of the files that are left out."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path
from typing import NamedTuple

from srgan_dist.imaging.extensions import EXTENSIONS

log = logging.getLogger("srgan_dist")

_KINDS_NAMED = 6
"""Number of extensions that the summary names."""


class Listing(NamedTuple):
    """What a folder contains."""

    files: list[Path]
    """Image files, sorted by path."""
    hidden: int
    """Files whose name, or whose folder's name, begins with a dot."""
    nested: int
    """Files in subfolders, unless these are listed as well."""
    others: Counter[str]
    """Files of other types, by extension in lower case."""
    linked: int
    """Links to folders, which are not followed."""

    def left_out(self) -> str:
        """Return how many files were left out and why; empty if none was."""
        kinds = [f"{kind or 'without extension'} {n}" for kind, n in self.others.most_common(_KINDS_NAMED)]
        kinds += ["..."] if len(self.others) > _KINDS_NAMED else []
        reasons = {
            "in subfolders (pack and upscale: --recursive)": self.nested,
            "hidden": self.hidden,
            f"of other types ({', '.join(kinds)})": self.others.total(),
            "links to folders": self.linked,
        }
        return ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)


def list_folder(
    folder: Path, *, recursive: bool = False, extensions: Set[str] = EXTENSIONS, ignored: Set[Path] = frozenset()
) -> Listing:
    """List a folder. Anything with the extension of an image counts as one, so that broken links are reported later.

    Args:
        folder: The folder.
        recursive: Also list its subfolders.
        extensions: Extensions of the files to list, in lower case.
        ignored: Subfolders that are not counted at all.

    Raises:
        ValueError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    listing = Listing([], 0, 0, Counter(), 0)
    hidden = nested = linked = 0
    for file, is_nested, is_hidden in _walk(folder, ignored):
        if is_hidden:
            hidden += 1
        elif is_nested and not recursive:
            nested += 1
        elif file.is_dir():
            linked += 1
        elif file.suffix.lower() in extensions:
            listing.files.append(file)
        else:
            listing.others[file.suffix.lower()] += 1
    return listing._replace(files=sorted(listing.files), hidden=hidden, nested=nested, linked=linked)


def _walk(folder: Path, ignored: Set[Path]) -> Iterator[tuple[Path, bool, bool]]:
    """Yield every file and every link to a folder below a folder, whether it is in a subfolder, and whether hidden."""
    for root, folders, names in os.walk(folder):
        below = Path(root)
        folders[:] = [name for name in folders if below / name not in ignored]
        parts = below.relative_to(folder).parts
        links = [name for name in folders if (below / name).is_symlink()]
        for name in (*names, *links):
            yield below / name, bool(parts), any(part.startswith(".") for part in (*parts, name))


def list_images(
    folder: Path, *, recursive: bool = False, extensions: Set[str] = EXTENSIONS, ignored: Set[Path] = frozenset()
) -> list[Path]:
    """Return the image files in a folder, sorted by path, and log in one line how many files are left out and why.

    Raises:
        ValueError: If the folder does not exist or contains no images.
    """
    listing = list_folder(folder, recursive=recursive, extensions=extensions, ignored=ignored)
    left_out = listing.left_out()
    if not listing.files:
        looked_for = f"looked for {', '.join(sorted(EXTENSIONS))}"
        raise ValueError(f"{folder}: no images here ({looked_for}{f'; left out: {left_out}' if left_out else ''})")
    if left_out:
        log.info("%s: %d images; left out: %s", folder, len(listing.files), left_out)
    return listing.files


def log_others(folder: Path, used: Set[Path]) -> None:
    """Log how many files are in a folder besides those in the subfolders that are used."""
    others = sum(1 for _ in _walk(folder, used))
    if others:
        names = ", ".join(sorted(path.relative_to(folder).as_posix() for path in used if folder in path.parents))
        log.info("%s: %d files left out, because images are taken from %s", folder, others, names)
