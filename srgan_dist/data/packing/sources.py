"""Sources of images. A source lists named HR (and LR) files; a new one needs a class here and a line in `SOURCES`."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from srgan_dist.data.shards.manifest import Split
from srgan_dist.imaging.listing import list_images, log_others


class Item(NamedTuple):
    """One image of a source."""

    name: str
    hr: Path
    lr: Path | None = None
    """None if the packer is to downscale it from HR."""
    problem: str = ""
    """Why the image is invalid, if that is already known."""


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
    """Twelve color photographs that ship inside scikit-image, scikit-learn and matplotlib. No download."""

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
    "grace_hopper": "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
    "hubble_deep_field": "skimage/data/hubble_deep_field.jpg",
    "ihc": "skimage/data/ihc.png",
    "motorcycle_left": "skimage/data/motorcycle_left.png",
    "motorcycle_right": "skimage/data/motorcycle_right.png",
    "retina": "skimage/data/retina.jpg",
    "rocket": "skimage/data/rocket.jpg",
}
_SAMPLES_HELD_OUT = {"chelsea", "flower", "rocket"}


def _package_file(file: str) -> Path:
    """Return the path of a file that an installed package ships, without importing the package."""
    package, _, rest = file.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / rest).is_file():
            return Path(folder) / rest
    raise ValueError(f"source sample: {file} is not installed; install the extra: pip install 'srgan-dist[sample]'")


_SPLIT_FOLDERS = ("train", "valid", "val", "test")


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Your own images: a folder of HR, or one with HR and LR folders, paired by name."""

    root: Path
    """A folder of HR images; or of an `HR` (or `HR_x4`) and optionally an `LR` (or `LR_x4`) folder; or of `train` and
    `valid` (or `val`, `test`) folders, each in one of these layouts."""

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
        """Return the images of a split, sorted by name; without split folders all of them are `train`.

        Raises:
            ValueError: a folder is missing or has no images.
        """
        splits = {name: self.root / name for name in _SPLIT_FOLDERS if (self.root / name).is_dir()}
        wanted = [folder for name, folder in splits.items() if (name == "train") == (split == "train")]
        if split == "valid" and not wanted:
            return []
        folder = wanted[0] if wanted else self.root
        hr = next((d for d in (folder / f"HR_x{scale}", folder / "HR") if d.is_dir()), folder)
        lr = next((d for d in (folder / f"LR_x{scale}", folder / "LR") if d.is_dir()), None)
        used = {*splits.values(), hr, *([lr] if lr else [])}
        if folder != hr:
            log_others(folder, used)
        if folder != self.root and (split == "train" or "train" not in splits):
            log_others(self.root, used)
        hr_files = list_images(hr, recursive=self.recursive, ignored=used)
        lr_files = list_images(lr, recursive=self.recursive) if lr else None
        return pair(hr_files, lr_files, scale, roots=(hr, lr or hr))[:limit]


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
        existing = {f.name for f in folder.iterdir()}
        names = [name for name, number in _partition(partition) if number == ("0" if split == "train" else "1")][:limit]
        missing = f"listed in {partition.name}, but missing"
        return [
            Item(name.split(".")[0], folder / name, problem="" if name in existing else f"{folder / name}: {missing}")
            for name in names
        ]


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
    rows = [line.replace(",", " ").split() for line in file.read_text().splitlines() if line.strip()]
    rows = rows[1:] if rows and rows[0][-1] == "partition" else rows
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise ValueError(f"{file}, line {number}: {' '.join(row)!r} is not an image name and 0, 1 or 2")
    return [(name, number) for name, number in rows]


def pair(
    hr: list[Path], lr: list[Path] | None, scale: int, mark: str = "", roots: tuple[Path, Path] | None = None
) -> list[Item]:
    """Pair HR and LR files by name, and sort them. A file without a partner becomes an item with a problem.

    Args:
        lr: LR files, or None if there are none.
        scale: names may end in x and this number, which is ignored.
        mark: pattern of what may follow that suffix.
        roots: folders of HR and LR; names are then the paths below them, without the extension.
    """
    hr_root, lr_root = roots or (None, None)
    if lr is None:
        return [Item(_name(f, hr_root), f) for f in hr]
    suffix = rf"_?x{scale}{mark}$"
    hrs, lrs = _by_name(hr, hr_root, suffix), _by_name(lr, lr_root, suffix)
    items: list[Item] = []
    for name in sorted(hrs.keys() | lrs.keys()):
        hr_files, lr_files = hrs.get(name, []), lrs.get(name, [])
        if len(hr_files) > 1 or len(lr_files) > 1:
            same_name = max(hr_files, lr_files, key=len)
            items.append(Item(name, same_name[0], problem=f"{same_name[0]}: {same_name[1].name} has the same name"))
        elif not hr_files or not lr_files:
            file, partner = (hr_files or lr_files)[0], "LR" if hr_files else "HR"
            items.append(Item(name, file, problem=f"{file}: no {partner} partner"))
        else:
            items.append(Item(name, hr_files[0], lr_files[0]))
    return items


def _by_name(files: list[Path], root: Path | None, suffix: str) -> dict[str, list[Path]]:
    named: dict[str, list[Path]] = {}
    for f in files:
        named.setdefault(re.sub(suffix, "", _name(f, root), flags=re.IGNORECASE), []).append(f)
    return named


def _name(file: Path, root: Path | None) -> str:
    return (file.relative_to(root).parent / file.stem).as_posix() if root else file.stem
