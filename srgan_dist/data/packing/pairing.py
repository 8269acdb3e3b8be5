"""The rule by which HR and LR files are paired: by folder or by suffix, and then by name."""

import re
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from srgan_dist.data.pair_names import HR_WORDS, LR_WORDS, Side, split_mark
from srgan_dist.imaging.listing import list_images, log_others


class Item(NamedTuple):
    """One image of a source."""

    name: str
    hr: Path
    lr: Path | None = None
    """None if the packer is to downscale it from HR."""
    problem: str = ""
    """Why the image is invalid, if that is already known."""


def folder_items(folder: Path, scale: int, recursive: bool = False, ignored: Set[Path] = frozenset()) -> list[Item]:
    """Return the images of a folder, sorted by name.

    HR and LR are subfolders (`HR`, `GT` or `HQ`, and `LR` or `LQ`, in any case, with or without the scale: `HR_x4`,
    `GTmod12`, `LRbicx4`, `LR_bicubic/X4`); or files of one folder whose names end in `_HR` and `_LR` (or `_GT` and
    `_LQ`); or else all files are HR. Files that are left out are counted in the log.

    Args:
        recursive: whether to include subfolders; HR and LR are then paired by their paths.
        ignored: subfolders that do not belong to these images.

    Raises:
        ValueError: there are no images, several folders fit, or the folders are those of another scale.
    """
    hr, lr = _subfolder(folder, HR_WORDS, scale), _subfolder(folder, LR_WORDS, scale)
    if hr is None:
        _reject_other_scales(folder, scale)
    used = {*ignored, hr or folder, *([lr] if lr else [])}
    if hr is not None:
        log_others(folder, used)
    root = hr or folder
    files = list_images(root, recursive=recursive, ignored=used)
    if lr is not None:
        return pair(files, list_images(lr, recursive=recursive), scale, roots=(root, lr))
    marked_hr, marked_lr = _marked(files, "hr", scale), _marked(files, "lr", scale)
    if not (marked_hr and marked_lr):
        return pair(files, None, scale, roots=(root, root))
    items = pair(marked_hr, marked_lr, scale, roots=(root, root))
    other = sorted(set(files) - set(marked_hr) - set(marked_lr))
    unmarked = [
        Item(f.stem, f, problem=f"{f}: its name ends neither in _HR nor in _LR, as the others do") for f in other
    ]
    return sorted(items + unmarked, key=lambda item: item.name)


def _subfolder(folder: Path, words: str, scale: int) -> Path | None:
    """Return the subfolder for HR or LR; the one that names the scale if there are several."""
    named = re.compile(rf"(?:{words})(?:[_-]?bic(?:ubic)?)?([_-]?x{scale}|[_-]?mod\d+)?", re.IGNORECASE)
    matches = [(found, d) for d in sorted(folder.iterdir()) if d.is_dir() and (found := named.fullmatch(d.name))]
    exact = [d for found, d in matches if found[1]] or [d for _, d in matches]
    if len(exact) > 1:
        raise ValueError(
            f"{folder}: both {exact[0].name} and {exact[1].name} could be meant; rename or move one of them"
        )
    if not exact:
        return None
    nested = [d for d in exact[0].iterdir() if d.is_dir() and d.name.lower() == f"x{scale}"]
    return nested[0] if nested else exact[0]


def _reject_other_scales(folder: Path, scale: int) -> None:
    """Raise a ValueError if the folder has HR folders, all of other scales."""
    named = re.compile(rf"(?:{HR_WORDS})[_-]?x(\d+)", re.IGNORECASE)
    found = sorted(d.name for d in folder.iterdir() if d.is_dir() and named.fullmatch(d.name))
    if found:
        raise ValueError(f"{folder}: has no HR_x{scale} folder, but {', '.join(found)}; set --scale to match")


def _marked(files: list[Path], side: Side, scale: int) -> list[Path]:
    return [f for f in files if split_mark(f.stem, scale)[1] == side]


def pair(
    hr: list[Path], lr: list[Path] | None, scale: int, mark: str = "", roots: tuple[Path, Path] | None = None
) -> list[Item]:
    """Pair HR and LR files by name, and sort them. A file without a partner becomes an item with a problem.

    If no name is common to both, the marks `_HR`, `_GT`, `_LR`, `_LQ` and `_SRF_4` at the end of names are ignored.

    Args:
        lr: LR files, or None if there are none.
        scale: names may end in x and this number, which is ignored.
        mark: pattern of what may follow that suffix.
        roots: folders of HR and LR; names are then the paths below them, without the extension.
    """
    hr_root, lr_root = roots or (None, None)
    if lr is None:
        return [
            Item(name if len(same) == 1 else f"{name}{f.suffix}", f)
            for name, same in _by_name(hr, hr_root, "$^").items()
            for f in same
        ]
    suffix = rf"_?x{scale}{mark}$"
    hrs, lrs = _by_name(hr, hr_root, suffix), _by_name(lr, lr_root, suffix)
    if not hrs.keys() & lrs.keys():
        suffix = rf"(?:_?x{scale}{mark}|[_-](?:{HR_WORDS}|{LR_WORDS})|_SRF_{scale})+$"
        hrs, lrs = _by_name(hr, hr_root, suffix), _by_name(lr, lr_root, suffix)
    return [_item(name, hrs.get(name, []), lrs.get(name, [])) for name in sorted(hrs.keys() | lrs.keys())]


def _item(name: str, hr: list[Path], lr: list[Path]) -> Item:
    if len(hr) > 1 or len(lr) > 1:
        same_name = max(hr, lr, key=len)
        return Item(name, same_name[0], problem=f"{same_name[0]}: {same_name[1].name} has the same name")
    if not hr or not lr:
        file, partner = (hr or lr)[0], "LR" if hr else "HR"
        return Item(name, file, problem=f"{file}: no {partner} partner")
    return Item(name, hr[0], lr[0])


def _by_name(files: list[Path], root: Path | None, suffix: str) -> dict[str, list[Path]]:
    named: dict[str, list[Path]] = {}
    for f in files:
        name = (f.relative_to(root).parent / f.stem).as_posix() if root else f.stem
        named.setdefault(re.sub(suffix, "", name, flags=re.IGNORECASE), []).append(f)
    return named


def listed_items(list_file: Path, root: Path, scale: int) -> list[Item]:
    """Return the images that a list names, in its order: one HR file per line, or HR and LR separated by a comma.

    Lines may end in the image's size, as in the meta-info files of other programs: `0001.png (1404,2040,3)`. Paths are
    relative to `root` or to its HR and LR folders.

    Raises:
        ValueError: the list cannot be read, is empty, or a line has more than two names.
    """
    try:
        lines = list_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--meta-info {list_file}: cannot be read ({error})") from None
    folders = [(root, _subfolder(root, words, scale)) for words in (HR_WORDS, LR_WORDS)]
    items: list[Item] = []
    for number, line in enumerate(lines, 1):
        names = [n.strip() for n in re.sub(r"\(\s*\d+(?:\s*,\s*\d+)*\s*\)\s*$", "", line).split(",") if n.strip()]
        if len(names) > 2:
            raise ValueError(f"--meta-info {list_file}, line {number}: {line.strip()!r} names more than HR and LR")
        if names:
            items.append(_listed(names, folders, f"{list_file}, line {number}"))
    if not items:
        raise ValueError(f"--meta-info {list_file}: names no image")
    return items


def _listed(names: list[str], folders: list[tuple[Path, Path | None]], where: str) -> Item:
    """Return the item of one line; without a second name, LR has HR's name if there is an LR folder."""
    lr_folder = folders[1][1]
    hr_name, lr_name = names[0], names[1] if len(names) == 2 else names[0] if lr_folder else None
    stem = str(Path(hr_name).with_suffix(""))
    files = [
        next((d / name for d in candidates if d and (d / name).is_file()), None)
        for name, candidates in ((hr_name, folders[0][::-1]), (lr_name, folders[1][::-1]))
        if name
    ]
    for name, file in zip((hr_name, lr_name), files, strict=False):
        if file is None:
            return Item(stem, folders[0][0] / hr_name, problem=f"{where}: {name} does not exist")
    hr = files[0] or Path(hr_name)
    return Item(stem, hr, files[1] if len(files) == 2 else None)
