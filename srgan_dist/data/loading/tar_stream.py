"""Samples of tars that are read once from start to end, from a file, a URL or a shell command.

Tars of other people are limited: a member is at most as large as the largest image, and an extended header 1 MiB.
"""

import math
import re
import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import IO, Any, cast

from PIL import Image

from srgan_dist.data.shards import remote
from srgan_dist.data.shards.tars import CheckedTarInfo, check_size
from srgan_dist.utils.addresses import PIPE, local_path, public, redacted, scheme_of, was_shortened, with_secrets

IMAGE_EXTENSIONS = ("npy", "png", "webp", "jpg", "jpeg")
_MOST_BYTES = 3 * (Image.MAX_IMAGE_PIXELS or 1 << 26) + (1 << 16)
"""Largest member: the largest image that Pillow opens, as raw RGB."""
_MOST_TARS = 100_000
_READ = 1 << 20
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


class _ImageTarInfo(CheckedTarInfo):
    most_bytes = _MOST_BYTES


def check_stream(locations: tuple[str, ...], allow_pipe: bool) -> None:
    """Check the entries of `data.stream` before anything is opened.

    Args:
        locations: the entries.
        allow_pipe: whether the command line allows shell commands.

    Raises:
        ValueError: an entry has an unknown scheme, or is a shell command that is not allowed or was not saved.
    """
    for location in locations:
        shown = public(location)
        if was_shortened(location):
            raise ValueError(f"data.stream: the rest of {shown} was not saved: pass the command with --data.stream")
        if scheme_of(location) != "pipe":
            remote.check_scheme(location, "data.stream")
        elif not allow_pipe:
            raise ValueError(
                f"data.stream: {shown} is a shell command, which a configuration from somebody else may contain; if "
                f"you trust it, add --allow-pipe to the command line"
            )


def expand(pattern: str) -> list[str]:
    """Return the tars that an entry of `data.stream` names; {000..012} and {a,b} are expanded, except in commands.

    Raises:
        ValueError: there are too many, or the braces do not match.
    """
    from braceexpand import braceexpand  # comes with webdataset

    if pattern.startswith(PIPE) or "{" not in pattern:
        return [pattern]
    ranges = math.prod(abs(int(m[1][-9:]) - int(m[2][-9:])) + 1 for m in _RANGE.finditer(pattern))
    if max(map(len, re.findall(r"\d+", pattern)), default=0) > 9 or ranges * _alternatives(pattern) > _MOST_TARS:
        raise ValueError(f"data.stream: {public(pattern)} stands for more than {_MOST_TARS} tars")
    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise ValueError(f"data.stream: {public(pattern)}: {error}") from error


def _alternatives(pattern: str) -> int:
    """Return an upper bound of the number of combinations of {a,b} groups."""
    product, commas = 1, [0]
    for c in pattern:
        if c == "{":
            commas.append(0)
        elif c == "}" and len(commas) > 1:
            product *= commas.pop() + 1
        elif c == ",":
            commas[-1] += 1
    return product


def tar_samples(location: str, stopped: Callable[[], bool]) -> Generator[dict[str, Any]]:
    """Yield the WebDataset samples of one tar: dictionaries from extension to bytes, plus `__key__` and `__url__`.

    Only images are read; other members have the content b"".

    Args:
        location: a file, a URL or a shell command.
        stopped: called between members; the samples end when it returns True.

    Raises:
        ValueError: the tar cannot be opened or read; the message names the tar and the member.
    """
    from webdataset.tariterators import group_by_keys  # slow to load; runs on shards do not need it

    name = public(location)
    try:
        with closing(_open(location)) as stream:
            yield from group_by_keys(_images(stream, name, stopped))
    except ValueError as error:
        raise ValueError(_line(name, error)) from error
    except Exception as error:  # tarfile, the decompressors and file systems raise many types
        raise ValueError(_line(name, error)) from error


def _line(name: str, error: Exception) -> str:
    """Return one line about an error in a tar; of a shell command's error only the type, since it may hold secrets."""
    said = "" if name.startswith(PIPE) else redacted(" ".join(str(a) for a in error.args[:1]))[:300]
    reason = said or type(error).__name__
    return f"data.stream: {reason}" if name in reason else f"data.stream: {name}: {reason}"


def _open(location: str) -> IO[bytes]:
    scheme = scheme_of(location)
    if scheme == "pipe":
        from webdataset.gopen import gopen  # runs the command in a shell

        return cast(IO[bytes], gopen(location))
    if scheme == "file":
        return open(local_path(location).removeprefix("file:"), "rb")
    return remote.open_stream(with_secrets(location))


def _images(stream: IO[bytes], name: str, stopped: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Yield name and content of the members of a tar, compressed or not, as `group_by_keys` expects them."""
    with tarfile.open(fileobj=stream, mode="r|*", bufsize=_READ, tarinfo=_ImageTarInfo) as tar:
        for info in tar:
            tar.members = []  # pyright: ignore  (otherwise the headers of the entire tar are kept)
            if stopped():
                return
            check_size(info, _MOST_BYTES)  # an extended header can change the size afterwards
            if not info.isreg() or info.name.startswith("__"):
                continue
            is_image = info.name.lower().endswith(tuple(f".{e}" for e in IMAGE_EXTENSIONS))
            content = tar.extractfile(info) if is_image else None
            try:
                data = content.read() if content else b""
            except Exception as error:
                raise ValueError(f"{name}, member {info.name[:200]}: {error or type(error).__name__}") from error
            yield {"fname": info.name, "data": data, "__url__": name}
