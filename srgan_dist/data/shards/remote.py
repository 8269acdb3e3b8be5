"""Files from anywhere that fsspec reaches (hf, s3, https, ...): fetched once a machine, checked, whole or not there."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec

from srgan_dist.data.shards.cache import lock
from srgan_dist.utils.files import publish, sha256_of, write_text

log = logging.getLogger("srgan_dist")

_CHUNK = 1 << 20
_ATTEMPTS = 4
_STREAMED = ("http", "https", "hf")  # their files read as one stream with block_size=0
_IDENTITY = ("ETag", "Content-MD5", "Last-Modified", "LastModified", "blob_id", "mtime", "size")

Progress = Callable[[int], object]
"""Told how many more bytes are there."""


def is_url(location: str) -> bool:
    """Whether a location is a URL and not a folder of this machine."""
    return "://" in location


def fetch(url: str, file: Path, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Downloads `url` to `file` unless it is there already; a half-done download is continued.

    Several processes that want the same file wait for the one that fetches it.

    Raises:
        ValueError: there is no such file, the server cannot be reached, or the content is not what was promised.
    """
    with lock(file):
        if not file.exists():
            partial = file.with_name(f".{file.name}.partial")
            _download(url, partial, sha256, progress or (lambda _: None))
            publish(partial, file)
    return file


def identity(url: str) -> str:
    """What changes when the content behind a URL does; empty where the server says nothing. Raises as `fetch`."""
    fs, path = _open_filesystem(url)
    try:
        fs.invalidate_cache()
        info: dict[str, Any] = fs.info(path)
    except Exception as error:
        raise _explained(url, error) from error
    known = {name: str(info[name]) for name in _IDENTITY if info.get(name) is not None}
    return repr(known) if known.keys() - {"size"} else ""


def _download(url: str, partial: Path, sha256: str | None, progress: Progress) -> None:
    fs, path = _open_filesystem(url)
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        try:
            _append(fs, path, partial, progress)
        except Exception as error:  # each file system has its own kinds
            if last or isinstance(error, (FileNotFoundError, PermissionError, ImportError)):
                raise _explained(url, error) from error
            log.warning("%s: %s; trying again", url, _said(error))
            time.sleep(0.5 * 2**attempt)
            continue
        if sha256 is None or sha256_of(partial) == sha256:
            return
        if last:
            raise CorruptFileError(f"{url}: corrupt at its source, sha256 is not the {sha256[:12]}... of the manifest")
        partial.unlink()
    raise AssertionError


class CorruptFileError(ValueError):
    """What came is not what was promised, however often it is fetched. The partial file is left there."""


def _append(fs: Any, path: str, partial: Path, progress: Progress) -> None:
    """Reads on from where the partial file ends, or from the start where the server cannot."""
    start = partial.stat().st_size if partial.exists() else 0
    expected = fs.info(path).get("size")
    if start and expected and start > expected:
        partial.unlink()
        start = 0
    if start:
        try:
            _copy(fs.open(path, "rb", cache_type="readahead"), start, partial, progress)
        except ValueError:  # fsspec's word for a server without ranges
            partial.unlink()
            start = 0
    if not start:
        streamed = {"block_size": 0} if set(_STREAMED) & set(_names(fs)) else {}
        _copy(fs.open(path, "rb", **streamed), 0, partial, progress)
    got = partial.stat().st_size
    if expected and got != expected:
        raise OSError(f"the connection ended after {got} of {expected} bytes")


def _copy(source: Any, start: int, partial: Path, progress: Progress) -> None:
    with source as content, partial.open("ab") as out:
        if start:
            content.seek(start)
            progress(start)
        while chunk := content.read(_CHUNK):
            out.write(chunk)
            progress(len(chunk))


def _names(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _open_filesystem(url: str) -> tuple[Any, str]:
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError:
        raise ValueError(f"{url}: needs more packages: pip install 'srgan-dist[remote]'") from None
    except Exception as error:
        raise _explained(url, error) from error


def _explained(url: str, error: Exception) -> ValueError:
    if isinstance(error, FileNotFoundError) and type(error.__cause__).__module__.startswith("aiohttp"):
        error = _as_exception(error.__cause__)  # fsspec says "not found" of servers that are not there, too
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return ValueError(f"{url}: not found (404)")
    if isinstance(error, PermissionError) or status in (401, 403):
        return ValueError(f"{url}: access denied; give credentials (HF_TOKEN, or AWS_ACCESS_KEY_ID and its like)")
    return ValueError(f"{url}: cannot be read ({_said(error)})")


def _as_exception(error: BaseException | None) -> Exception:
    assert isinstance(error, Exception)
    return error


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def fetch_small(url: str, cache: Path) -> bytes:
    """The content of a small file, fetched again only when the server says that it changed. Raises as `fetch`."""
    file = cache / "small" / hashlib.sha256(url.encode()).hexdigest()[:32]
    with lock(file):
        now, noted = identity(url), file.with_suffix(".identity")
        if not (file.exists() and noted.exists() and now and noted.read_text() == now):
            partial = file.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            _download(url, partial, None, lambda _: None)
            noted.unlink(missing_ok=True)
            publish(partial, file)
            write_text(now, noted)
        return file.read_bytes()
