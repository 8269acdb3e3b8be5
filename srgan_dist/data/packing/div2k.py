"""DIV2K (Agustsson & Timofte 2017): its archives, their checksums, and their two folder layouts."""

import hashlib
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from srgan_dist.data.packing import hub
from srgan_dist.data.packing.pairing import Item, pair
from srgan_dist.data.shards import remote
from srgan_dist.data.shards.manifest import Split
from srgan_dist.imaging.listing import list_images
from srgan_dist.utils.files import publish
from srgan_dist.utils.first_download import compare_with_first

Track = Literal["bicubic", "unknown", "x8", "mild", "difficult", "wild"]

ADDRESS = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
ON_THE_HUB = "mAiello00/DIV2K"
MD5 = {
    "DIV2K_train_HR": "bdc2d9338d4e574fe81bf7d158758658",
    "DIV2K_train_LR_bicubic_X2": "9a637d2ef4db0d0a81182be37fb00692",
    "DIV2K_train_LR_bicubic_X3": "ad80b9fe40c049a07a8a6c51bfab3b6d",
    "DIV2K_train_LR_bicubic_X4": "76c43ec4155851901ebbe8339846d93d",
    "DIV2K_train_LR_unknown_X2": "1396d023072c9aaeb999c28b81315233",
    "DIV2K_train_LR_unknown_X3": "4e651308aaa54d917fb1264395b7f6fa",
    "DIV2K_train_LR_unknown_X4": "e3c7febb1b3f78bd30f9ba15fe8e3956",
    "DIV2K_train_LR_x8": "613db1b855721b3d2b26f4194a1d22a6",
    "DIV2K_train_LR_mild": "807b3e3a5156f35bd3a86c5bbfb674bc",
    "DIV2K_train_LR_difficult": "5a8f2b9e0c5f5ed0dac271c1293662f4",
    "DIV2K_train_LR_wild": "d00982366bffee7c4739ba7ff1316b3b",
    "DIV2K_valid_HR": "9fcdda83005c5e5997799b69f955ff88",
    "DIV2K_valid_LR_bicubic_X2": "1512c9a3f7bde2a1a21a73044e46b9cb",
    "DIV2K_valid_LR_bicubic_X3": "18b1d310f9f88c13618c287927b29898",
    "DIV2K_valid_LR_bicubic_X4": "21962de700c8d368c6ff83314480eff0",
    "DIV2K_valid_LR_unknown_X2": "d319bd9033573d21de5395e6454f34f8",
    "DIV2K_valid_LR_unknown_X3": "05184168e3608b5c539fbfb46bcade4f",
    "DIV2K_valid_LR_unknown_X4": "8ac3413102bb3d0adc67012efb8a6c94",
    "DIV2K_valid_LR_x8": "c5aeea2004e297e9ff3abfbe143576a5",
    "DIV2K_valid_LR_mild": "8c433f812ca532eed62c11ec0de08370",
    "DIV2K_valid_LR_difficult": "1620af11bf82996bc94df655cb6490fe",
    "DIV2K_valid_LR_wild": "aacae8db6bec39151ca5bb9c80bf2f6c",
}
_SCALES = {"bicubic": (2, 3, 4), "unknown": (2, 3, 4), "x8": (8,), "mild": (4,), "difficult": (4,), "wild": (4,)}


@dataclass(frozen=True, kw_only=True)
class Div2kSource:
    """DIV2K (Agustsson & Timofte 2017): 800 training and 100 validation images of 2K."""

    root: Path
    """The folder with `DIV2K_train_HR` and the other archives, unpacked; downloads go there, too."""

    track: Track = "bicubic"
    """LR images to use: bicubic or unknown at x2, x3, x4; x8; mild, difficult or wild (four per image) at x4."""

    download: Literal["no", "official", "hub"] = "no"
    """Where to download missing archives from: the official server, or the data set mAiello00/DIV2K on the Hub."""

    @property
    def label(self) -> str:
        """See `Source`."""
        return f"DIV2K {self.track}"

    @property
    def aligned(self) -> bool:
        """See `Source`. LR of the realistic tracks is shifted on purpose."""
        return self.track in ("bicubic", "unknown", "x8")

    def items(self, split: Split, scale: int, limit: int | None = None) -> list[Item]:
        """Return the pairs of a split, sorted by name; the LR folders may be nested as in the zips or as on the Hub.

        Raises:
            ValueError: the track does not have this scale, or a folder is missing or cannot be downloaded.
        """
        if scale not in _SCALES[self.track]:
            known = ", ".join(map(str, _SCALES[self.track]))
            raise ValueError(f"DIV2K's track {self.track} is for --scale {known}, not {scale}")
        archives = [f"DIV2K_{split}_HR", f"DIV2K_{split}_LR_{self._archive(scale)}"]
        if self.download == "hub":
            hub.download(ON_THE_HUB, archives, self.root, limit)
        elif self.download == "official":
            for archive in archives:
                if not _find_folder(self.root, archive):
                    _download(archive, self.root)
        hr, lr = (list_images(_existing_folder(self.root, a)) for a in archives)
        return (_pair_wild(hr, lr) if self.track == "wild" else pair(hr, lr, scale, "[md]?"))[:limit]

    def _archive(self, scale: int) -> str:
        return f"{self.track}_X{scale}" if self.track in ("bicubic", "unknown") else self.track


def _find_folder(root: Path, archive: str) -> Path | None:
    """Return the folder of an archive's images, nested as in the zips or one level deeper; None if it is missing."""
    plain, _, suffix = archive.rpartition("_X")
    inside = f"{plain}/X{suffix}" if plain else archive
    for name in (inside, f"{archive}/{inside}", f"{archive}/X{suffix}" if plain else inside, archive):
        folder = root / name
        if folder.is_dir() and any(f.is_file() for f in folder.iterdir()):
            return folder
    return None


def _existing_folder(root: Path, archive: str) -> Path:
    folder = _find_folder(root, archive)
    if not folder:
        raise ValueError(f"{root}: {archive} is missing; download it with --download official or --download hub")
    return folder


def _pair_wild(hr: list[Path], lr: list[Path]) -> list[Item]:
    """Pair each HR with its several LR: 0001x4w1, 0001x4w2, ..."""
    originals = {f.stem: f for f in hr}
    items: list[Item] = []
    for f in lr:
        match = re.fullmatch(r"(\d+)x4(w\d?)", f.stem)
        original = originals.get(match[1]) if match else None
        name = f"{match[1]}{match[2]}" if match else f.stem
        items.append(Item(name, original or f, f, "" if original else f"{f}: no HR partner"))
    return items


def _download(archive: str, root: Path) -> None:
    """Download, verify and unpack an official zip; each folder appears only when it is complete."""
    root.mkdir(parents=True, exist_ok=True)
    file, url = root / f"{archive}.zip", f"{ADDRESS}/{archive}.zip"
    with tqdm(unit="B", unit_scale=True, desc=archive, disable=None) as progress_bar:
        remote.fetch(url, file, progress=progress_bar.update)
    with file.open("rb") as content:
        md5 = hashlib.file_digest(content, "md5").hexdigest()
    if md5 != MD5[archive]:
        file.unlink()
        raise ValueError(f"{url}: corrupt, md5 {md5} is not the official {MD5[archive]}; run the command again")
    try:
        compare_with_first(url, file)
    except ValueError:
        file.unlink()
        raise
    partial = root / f".{archive}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(file) as archived:
        archived.extractall(partial)
    for folder in [d for d in (partial, *partial.rglob("*")) if d.is_dir() and any(f.is_file() for f in d.iterdir())]:
        target = root / folder.relative_to(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        publish(folder, target)
    shutil.rmtree(partial)
    file.unlink()
