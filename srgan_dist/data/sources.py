"""Where pictures come from. A source yields named HR (and LR) files; a new one is a class and a line in `SOURCES`."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from srgan_dist.data.format import Split
from srgan_dist.pictures import list_pictures


class Item(NamedTuple):
    """One picture of a source; without `lr` the packer makes it."""

    name: str
    hr: Path
    lr: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SampleSource:
    """Twelve colour photographs that ship inside scikit-image, scikit-learn and matplotlib. No download."""

    def items(self, split: Split, scale: int) -> list[Item]:
        """The photographs of a split, by name.

        Raises:
            ValueError: one of the packages is not installed, or came without its pictures.
        """
        wanted = {name: file for name, file in _SAMPLES.items() if (name in _SAMPLES_HELD_OUT) == (split == "valid")}
        return [Item(name, _inside_package(file)) for name, file in sorted(wanted.items())]


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
    """Your own pictures: a folder of HR, or one that holds HR and LR folders paired by name."""

    root: Path
    """The folder. Its own pictures are HR; or it holds `HR` (or `HR_x4`) and perhaps `LR` (or `LR_x4`), or
    `train` and `valid` folders of one of these kinds."""

    def items(self, split: Split, scale: int) -> list[Item]:
        """The pictures of a split, by name; everything is `train` where there are no split folders.

        Raises:
            ValueError: no pictures, or an HR picture without its LR partner (or the reverse).
        """
        folder = self.root / split
        if not folder.is_dir():
            if split == "valid":
                return []
            folder = self.root
        hr = next((d for d in (folder / f"HR_x{scale}", folder / "HR") if d.is_dir()), folder)
        lr = next((d for d in (folder / f"LR_x{scale}", folder / "LR") if d.is_dir()), None)
        return pair(list_pictures(hr), list_pictures(lr) if lr else None, scale)


@dataclass(frozen=True, kw_only=True)
class Div2kSource:
    """DIV2K (Agustsson & Timofte 2017), unpacked: 800 training and 100 validation pictures of 2K."""

    root: Path
    """The folder that holds `DIV2K_train_HR` and the others."""

    def items(self, split: Split, scale: int) -> list[Item]:
        """HR with its bicubic LR, by name; the LR folders may be nested as in the zips or as on the Hub.

        Raises:
            ValueError: a folder is missing, or a picture has no partner.
        """
        hr, lr = f"DIV2K_{split}_HR", f"DIV2K_{split}_LR_bicubic"
        hr_folder = _first_folder(self.root, [hr, f"{hr}/{hr}"])
        lr_folder = _first_folder(
            self.root, [f"{lr}/X{scale}", f"{lr}_X{scale}/{lr}/X{scale}", f"{lr}_X{scale}/X{scale}"]
        )
        return pair(list_pictures(hr_folder), list_pictures(lr_folder), scale)


def _first_folder(root: Path, names: list[str]) -> Path:
    for name in names:
        folder = root / name
        if folder.is_dir() and any(f.is_file() for f in folder.iterdir()):
            return folder
    raise ValueError(f"{root}: none of {', '.join(names)} is here")


def pair(hr: list[Path], lr: list[Path] | None, scale: int) -> list[Item]:
    """Pairs files by name, where an LR file may carry the suffix x2, x3, x4 or x8.

    Raises:
        ValueError: a picture has no partner.
    """
    if lr is None:
        return [Item(f.stem, f) for f in hr]
    partners = {re.sub(rf"_?x{scale}$", "", f.stem, flags=re.IGNORECASE): f for f in lr}
    names = {re.sub(rf"_?x{scale}$", "", f.stem, flags=re.IGNORECASE): f for f in hr}
    if lonely := sorted(names.keys() ^ partners.keys()):
        side = "LR" if lonely[0] in names else "HR"
        more = f" (and {len(lonely) - 1} more)" if len(lonely) > 1 else ""
        raise ValueError(f"{names.get(lonely[0]) or partners[lonely[0]]}: no {side} partner{more}")
    return [Item(name, file, partners[name]) for name, file in sorted(names.items())]


Source = SampleSource | FolderSource | Div2kSource
SOURCES: dict[str, type[SampleSource] | type[FolderSource] | type[Div2kSource]] = {
    "sample": SampleSource,
    "folder": FolderSource,
    "div2k": Div2kSource,
}
