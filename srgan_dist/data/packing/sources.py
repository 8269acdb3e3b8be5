"""Sources of images. A source lists named HR (and LR) files; a new one needs a class here and a line in `SOURCES`."""

import hashlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from srgan_dist.data.packing.pairing import Item, folder_items, listed_items
from srgan_dist.data.shards.manifest import Split
from srgan_dist.imaging.listing import log_others

log = logging.getLogger("srgan_dist")

_CELEBA_PARTITION_MD5 = "d32c9cbf5e040fd4025c592c306e6668"


class Source(Protocol):
    """A collection of images, divided into splits."""

    @property
    def label(self) -> str:
        """Name of the source in the manifest."""
        ...

    @property
    def root(self) -> Path | None:
        """The folder that the user named, None for a source without one; shards are never written there."""
        ...

    @property
    def aligned(self) -> bool:
        """Whether LR is aligned with HR; False if it is shifted on purpose."""
        ...

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """Return the images of a split, sorted by name.

        Args:
            limit: number of images, from the first on; None for all. A source may download no more than these.

        Raises:
            ValueError: the images are missing, or cannot be downloaded.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SampleSource:
    """Fourteen images that ship inside scikit-image, scikit-learn and matplotlib; no download.

    Twelve are color photographs. Gravel and a printed page are only held out.
    """

    @property
    def label(self) -> str:
        """See `Source`."""
        return "sample"

    @property
    def root(self) -> None:
        """See `Source`."""

    @property
    def aligned(self) -> bool:
        """See `Source`."""
        return True

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """Return the photographs of a split, sorted by name.

        Raises:
            ValueError: one of the packages is not installed, or was installed without its images.
        """
        del scale
        files = {name: file for name, file in _SAMPLES.items() if (name in _SAMPLES_HELD_OUT) == (split == "valid")}
        return [Item(name, _package_file(file)) for name, file in sorted(files.items())][:limit]


_SAMPLES = {
    "astronaut": "skimage/data/astronaut.png",
    "chelsea": "skimage/data/chelsea.png",
    "china": "sklearn/datasets/images/china.jpg",
    "coffee": "skimage/data/coffee.png",
    "flower": "sklearn/datasets/images/flower.jpg",
    "gravel": "skimage/data/gravel.png",
    "grace_hopper": "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
    "hubble_deep_field": "skimage/data/hubble_deep_field.jpg",
    "ihc": "skimage/data/ihc.png",
    "motorcycle_left": "skimage/data/motorcycle_left.png",
    "motorcycle_right": "skimage/data/motorcycle_right.png",
    "page": "skimage/data/page.png",
    "retina": "skimage/data/retina.jpg",
    "rocket": "skimage/data/rocket.jpg",
}
_SAMPLES_HELD_OUT = {"chelsea", "flower", "gravel", "page", "rocket"}


def _package_file(file: str) -> Path:
    """Return the path of a file that an installed package ships, without importing the package."""
    package, _, rest = file.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / rest).is_file():
            return Path(folder) / rest
    raise ValueError(f"source sample: {file} is not installed; install the extra: pip install 'srgan-dist[sample]'")


_SPLIT_FOLDERS = ("train", "valid", "val", "test", "validation")


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Your own images: a folder of HR, or one with HR and LR folders, paired by name."""

    root: Path
    """A folder of HR images; of files whose names end in `_HR` and `_LR`; of an `HR` (or `GT`) and optionally an `LR`
    (or `LQ`) folder, which may name the scale (`HR_x4`); or of `train` and `valid` (or `val`, `test`) folders in one of
    these layouts."""

    meta_info: Path | None = None
    """A text file that lists the images to pack as `train`, one per line: HR, or HR and LR separated by a comma."""

    recursive: bool = False
    """Also pack the images in subfolders; HR and LR are paired by their paths."""

    @property
    def label(self) -> str:
        """See `Source`."""
        return f"folder {self.root.resolve().name}"

    @property
    def aligned(self) -> bool:
        """See `Source`."""
        return True

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """Return the images of a split, sorted by name or in the list's order; without split folders all are `train`.

        Raises:
            ValueError: see `folder_items` and `listed_items`.
        """
        if self.meta_info:
            return listed_items(self.meta_info, self.root, scale)[:limit] if split == "train" else []
        if not self.root.is_dir():
            raise ValueError(f"{self.root}: there is no such folder")
        found = {d.name.lower(): d for d in sorted(self.root.iterdir()) if d.is_dir()}
        splits = {name: found[name] for name in _SPLIT_FOLDERS if name in found}
        wanted = [folder for name, folder in splits.items() if (name == "train") == (split == "train")]
        if split == "valid" and not wanted:
            return []
        folder = wanted[0] if wanted else self.root
        if folder != self.root and (split == "train" or "train" not in splits):
            log_others(self.root, set(splits.values()))
        return folder_items(folder, scale, self.recursive, ignored=set(splits.values()) - {folder})[:limit]


@dataclass(frozen=True, kw_only=True)
class CelebaSource:
    """CelebA: 202,599 aligned faces of 178x218, official split. Its license requires that you download it yourself."""

    root: Path
    """The folder with `img_align_celeba` and `list_eval_partition.txt` (or .csv), or its parent."""

    @property
    def label(self) -> str:
        """See `Source`."""
        return "celeba"

    @property
    def aligned(self) -> bool:
        """See `Source`."""
        return True

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """Return the faces of a split in the order of the official list; its test split is not used.

        Raises:
            ValueError: the images or the list are missing, or the list has an invalid line.
        """
        del scale
        folder = _celeba_folder(self.root)
        partition = _find(self.root, ("list_eval_partition.txt", "list_eval_partition.csv"))
        _compare_with_official(partition)
        existing = {f.name for f in folder.iterdir()}
        names = [name for name, number in _partition(partition) if number == ("0" if split == "train" else "1")][:limit]
        missing = f"listed in {partition.name}, but missing"
        return [
            Item(name.split(".")[0], folder / name, problem="" if name in existing else f"{folder / name}: {missing}")
            for name in names
        ]


def _compare_with_official(partition: Path) -> None:
    """Log a warning if CelebA's list of splits in the original format is not the official one."""
    content = partition.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if partition.suffix == ".txt" and md5 != _CELEBA_PARTITION_MD5:
        log.warning("%s: not CelebA's official list (md5 %s, expected %s)", partition, md5, _CELEBA_PARTITION_MD5)


def _celeba_folder(root: Path) -> Path:
    folder = _find(root, ("img_align_celeba",))
    nested = folder / "img_align_celeba"
    return nested if nested.is_dir() else folder


def _find(root: Path, names: tuple[str, ...]) -> Path:
    """Return the first file or folder with one of these names in `root` or directly in a subfolder."""
    for name in names:
        for path in (root / name, *sorted(root.glob(f"*/{name}"))):
            if path.exists():
                return path
    raise ValueError(f"{root}: no {' or '.join(names)} in this folder or in its subfolders")


def _partition(file: Path) -> list[tuple[str, str]]:
    """Return the file name and the split (0 train, 1 valid, 2 test) in each line of the official list."""
    rows = [line.replace(",", " ").split() for line in file.read_text("utf-8").splitlines() if line.strip()]
    rows = rows[1:] if rows and rows[0][-1] == "partition" else rows
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise ValueError(f"{file}, line {number}: {' '.join(row)!r} is not an image name and 0, 1 or 2")
    return [(name, number) for name, number in rows]
