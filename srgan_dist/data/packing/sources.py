"""Where images come from. A source yields named HR (and LR) files; a new one is a class and a line in `SOURCES`."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from srgan_dist.data.shards.manifest import Split
from srgan_dist.imaging.images import list_images


class Item(NamedTuple):
    """One image of a source; without `lr` the packer makes it."""

    name: str
    hr: Path
    lr: Path | None = None
    problem: str = ""
    """What is already known to be wrong with it."""


class Source(Protocol):
    """A collection of images, in splits."""

    @property
    def label(self) -> str:
        """What the manifest calls it."""
        ...

    @property
    def aligned(self) -> bool:
        """Whether LR is exactly above HR, and not shaken on purpose."""
        ...

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """The images of a split, by name; of a long download only as many as `limit`.

        Raises:
            ValueError: nothing is there, or it cannot be fetched.
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
    def aligned(self) -> bool:
        """See `Source`."""
        return True

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """The photographs of a split, by name.

        Raises:
            ValueError: one of the packages is not installed, or came without its images.
        """
        del scale
        wanted = {name: file for name, file in _SAMPLES.items() if (name in _SAMPLES_HELD_OUT) == (split == "valid")}
        return [Item(name, _inside_package(file)) for name, file in sorted(wanted.items())][:limit]


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


def _inside_package(file: str) -> Path:
    package, _, rest = file.partition("/")
    spec = importlib.util.find_spec(package)  # finds the folder without importing the package
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / rest).is_file():
            return Path(folder) / rest
    raise ValueError(f"source sample: {file} is not installed; install the extra: pip install 'srgan-dist[sample]'")


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Your own images: a folder of HR, or one that holds HR and LR folders paired by name."""

    root: Path
    """The folder. Its own images are HR; or it holds `HR` (or `HR_x4`) and perhaps `LR` (or `LR_x4`), or
    `train` and `valid` (or `val`, `test`) folders of one of these kinds."""

    @property
    def label(self) -> str:
        """See `Source`."""
        return f"folder {self.root.resolve().name}"

    @property
    def aligned(self) -> bool:
        """See `Source`."""
        return True

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """The images of a split, by name; everything is `train` where there are no split folders.

        Raises:
            ValueError: no images.
        """
        names = ("train",) if split == "train" else ("valid", "val", "test")
        folder = next((self.root / n for n in names if (self.root / n).is_dir()), None)
        if folder is None:
            if split == "valid":
                return []
            folder = self.root
        hr = next((d for d in (folder / f"HR_x{scale}", folder / "HR") if d.is_dir()), folder)
        lr = next((d for d in (folder / f"LR_x{scale}", folder / "LR") if d.is_dir()), None)
        return pair(list_images(hr), list_images(lr) if lr else None, scale)[:limit]


@dataclass(frozen=True, kw_only=True)
class CelebaSource:
    """CelebA's aligned faces, 202,599 of 178x218, with its official split; fetch it yourself, its license asks."""

    root: Path
    """The folder that holds `img_align_celeba` and `list_eval_partition.txt` (or .csv), also one folder down."""

    @property
    def label(self) -> str:
        """See `Source`."""
        return "celeba"

    @property
    def aligned(self) -> bool:
        """See `Source`."""
        return True

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """The faces of a split (its test split is left alone), in the order of the official list.

        Raises:
            ValueError: images or list are missing, or the list is not one.
        """
        del scale
        folder = _celeba_folder(self.root)
        listed = _find(self.root, ("list_eval_partition.txt", "list_eval_partition.csv"))
        there = {f.name for f in folder.iterdir()}
        wanted = [name for name, number in _partition(listed) if number == ("0" if split == "train" else "1")][:limit]
        missing = f"named in {listed.name}, but not there"
        return [
            Item(name.split(".")[0], folder / name, problem="" if name in there else f"{folder / name}: {missing}")
            for name in wanted
        ]


def _celeba_folder(root: Path) -> Path:
    folder = _find(root, ("img_align_celeba",))
    nested = folder / "img_align_celeba"
    return nested if nested.is_dir() else folder


def _find(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        for place in (root / name, *sorted(root.glob(f"*/{name}"))):
            if place.exists():
                return place
    raise ValueError(f"{root}: no {' or '.join(names)} here, nor one folder down")


def _partition(file: Path) -> list[tuple[str, str]]:
    """Name and number (0 train, 1 valid, 2 test) of each line."""
    rows = [line.replace(",", " ").split() for line in file.read_text().splitlines() if line.strip()]
    rows = rows[1:] if rows and rows[0][-1] == "partition" else rows
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise ValueError(f"{file}, line {number}: {' '.join(row)!r} is not an image and 0, 1 or 2")
    return [(name, number) for name, number in rows]


def pair(hr: list[Path], lr: list[Path] | None, scale: int, mark: str = "") -> list[Item]:
    """Pairs files by name, where a file may carry the suffix x2, x3, x4 or x8; one without partner is a problem.

    Args:
        mark: a pattern for what may follow the suffix.
    """
    if lr is None:
        return [Item(f.stem, f) for f in hr]
    hrs, lrs = (_by_name(files, rf"_?x{scale}{mark}$") for files in (hr, lr))
    items: list[Item] = []
    for name in sorted(hrs.keys() | lrs.keys()):
        one, other = hrs.get(name, []), lrs.get(name, [])
        if len(one) > 1 or len(other) > 1:
            twice = max(one, other, key=len)
            items.append(Item(name, twice[0], problem=f"{twice[0]}: {twice[1].name} has the same name"))
        elif not one or not other:
            file, side = (one or other)[0], "LR" if one else "HR"
            items.append(Item(name, file, problem=f"{file}: no {side} partner"))
        else:
            items.append(Item(name, one[0], other[0]))
    return items


def _by_name(files: list[Path], suffix: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for f in files:
        found.setdefault(re.sub(suffix, "", f.stem, flags=re.IGNORECASE), []).append(f)
    return found
