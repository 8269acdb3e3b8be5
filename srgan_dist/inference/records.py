"""Records of what upscaled images were made from, so that results are neither mixed up nor made twice.

Each folder with results has one hidden file of JSON lines, one line per result: its size, time and SHA-256, those of
the image that it was made from, the SHA-256 of the weights, and the options. A line is written just before its result
appears, so an interrupted command can be repeated at any point.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from srgan_dist import __version__
from srgan_dist.utils.files import append_line, sha256_of

log = logging.getLogger("srgan_dist")

RECORDS = ".srgan-upscale.jsonl"
"""The hidden file in a folder with results."""
_LOSSY = frozenset({".jpg", ".jpeg", ".webp", ".avif"})
"""Extensions of the formats whose results depend on the quality."""


class Recipe(NamedTuple):
    """How results are made: the same recipe and source give the same result."""

    model: str
    """The model's label, for messages."""
    weights: str
    """SHA-256 of the weights; see `models.files.weights_digest`."""
    options: dict[str, Any]
    """The options that change pixels, as JSON values."""

    def of(self, target: Path) -> dict[str, Any]:
        """Return what determines the pixels of a result, as JSON values; the quality counts for lossy formats only."""
        options = {k: v for k, v in self.options.items() if k != "quality" or target.suffix.lower() in _LOSSY}
        return {"weights": self.weights, "options": options}


class Seen(NamedTuple):
    """What a file looks like without reading it."""

    path: str
    bytes: int = -1
    """-1 if there is no such file, or its content is unknown."""
    mtime_ns: int = 0
    ctime_ns: int = 0


class Records:
    """The records of all folders that a command writes to.

    Args:
        recipe: How this command makes results.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._folders: dict[Path, dict[str, list[dict[str, Any]]]] = {}

    def is_done(self, source: Path, target: Path, part: int = 0) -> bool:
        """Return whether `target` is the result of this recipe for the present content of `source`.

        Args:
            source: The image file.
            target: The file that would be written.
            part: Index of the frame or page of `source`.

        Raises:
            ValueError: If `target` exists and is the result of another image, or no result that is on record. Results
                of an earlier content of `source`, or of another model or other options, may be replaced.
        """
        if not os.path.lexists(target) or not source.is_file():
            return False
        record = self._find(target)
        if record is None:
            raise ValueError(
                f"{target}: exists, and is not on record as a result of srgan upscale, or was changed since; "
                "choose another folder, or pass --overwrite"
            )
        if record.get("part", 0) == part and _is_source(record["source"], source):
            if all(record.get(key) == value for key, value in self.recipe.of(target).items()):
                return True
            same_model = record.get("weights") == self.recipe.weights
            cause = "with other options" if same_model else f"by {record.get('model')}"
            log.info("%s: is replaced, because it was made %s", target, cause)
            return False
        if record.get("part", 0) == part and record["source"]["path"] == str(source.resolve()):
            log.info("%s: is replaced, because %s has changed", target, source)
            return False
        raise ValueError(
            f"{target}: is the result of another image, {record['source']['path']}, and not of {source}; "
            "choose another folder, or pass --overwrite"
        )

    def add(self, partial: Path, source: Path, target: Path, seen: Seen, part: int = 0) -> None:
        """Record a complete result that is about to be renamed to its name.

        Args:
            partial: The result under its temporary name.
            source: The image file.
            target: The final path.
            seen: The state of `source` before it was read. If it has changed since, its content is recorded as unknown,
                so that the result is made again.
            part: Index of the frame or page of `source`.

        Raises:
            OSError: If a file cannot be read or the record cannot be written.
        """
        digest, found = sha256_of(source), partial.stat()
        if look_at(source) != seen:
            digest, seen = "", Seen(seen.path)
        record: dict[str, Any] = {
            "result": target.name, "bytes": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": sha256_of(partial),
            "source": seen._asdict() | {"sha256": digest},
            "part": part, "model": self.recipe.model, **self.recipe.of(target), "version": __version__,
        }  # fmt: skip
        append_line(json.dumps(record), target.parent / RECORDS)
        self._of_folder(target.parent).setdefault(target.name, []).append(record)

    def _find(self, target: Path) -> dict[str, Any] | None:
        """Return the record of a file's present content, also after it was copied, which changes its time."""
        found, digest = target.stat() if target.exists() else target.lstat(), ""
        for record in reversed(self._of_folder(target.parent).get(target.name, [])):
            if record["bytes"] != found.st_size:
                continue
            if record["mtime_ns"] == found.st_mtime_ns:
                return record
            digest = digest or sha256_of(target)
            if record["sha256"] == digest:
                return record
        return None

    def _of_folder(self, folder: Path) -> dict[str, list[dict[str, Any]]]:
        """Return a folder's records by the results' names, oldest first."""
        if folder not in self._folders:
            self._folders[folder] = {}
            for record in _read(folder / RECORDS):
                self._folders[folder].setdefault(record["result"], []).append(record)
        return self._folders[folder]


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    records: list[dict[str, Any]] = []
    for line in lines:
        try:
            record = json.loads(line)
            _ = record["result"], record["bytes"], record["mtime_ns"], record["sha256"], record["source"]["sha256"]
            records.append(record)
        except (ValueError, KeyError, TypeError):  # a line that a crash has cut off
            continue
    return records


def look_at(source: Path) -> Seen:
    """Return the path, size and times of a file."""
    try:
        stat = source.stat()
    except OSError:
        return Seen(str(source.resolve()))
    return Seen(str(source.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _is_source(record: dict[str, Any], source: Path) -> bool:
    """Return whether a file has the content on record. It is read only if its path, size or a time differs."""
    seen = look_at(source)
    if all(record.get(name) == value for name, value in seen._asdict().items()):
        return True
    return record["bytes"] == seen.bytes and record["sha256"] == sha256_of(source)
