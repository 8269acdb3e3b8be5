"""Downloads through fsspec (hf, s3, https, ...): once per machine, verified, and written atomically."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import fsspec

from srgan_dist.utils.addresses import SIGNED_URLS, is_url, public, redacted, scheme_of
from srgan_dist.utils.file_lock import lock
from srgan_dist.utils.files import FULL_DISK, disk_errors, publish, sha256_of, write_text

log = logging.getLogger("srgan_dist")

SCHEMES = ("file", "http", "https", "hf", "s3", "gs")
"""Schemes of locations that are read."""
MOST_BYTES = 64 << 30
"""Largest download of which no size was promised; the largest archive of DIV2K has 4 GB."""
_TIMEOUT = 60.0
"""Seconds that a server may be silent."""
_CHUNK = 1 << 20
_ATTEMPTS = 4
_STREAMED = ("http", "https", "hf")  # with block_size=0 they read a file as one stream
_IDENTITY = ("ETag", "Content-MD5", "Last-Modified", "LastModified", "blob_id", "mtime", "size")

Progress = Callable[[int], object]
"""Called with the number of bytes that have just arrived."""


def check_scheme(location: str, field: str, known: tuple[str, ...] = SCHEMES) -> None:
    """Raise ValueError if the scheme of a location is not supported; `field` names the setting in the message.

    Schemes are allowed by name, because fsspec and WebDataset know others, some of which run programs.
    """
    chained = is_url(location) and "::" in location  # fsspec would open both parts
    if chained or scheme_of(location) not in known:
        shown = redacted(public(location))
        raise ValueError(f"{field}: {shown} is neither a local path nor a URL of {', '.join(known[1:])}")


def fetch(
    url: str,
    file: Path,
    sha256: str | None = None,
    progress: Progress | None = None,
    most_bytes: int = MOST_BYTES,
) -> bool:
    """Download `url` to `file` unless it exists; continue an interrupted download.

    Processes of one machine that want the same file wait for the one that downloads it.

    Args:
        sha256: expected hash of the content, in hexadecimal; not checked if None.
        progress: called as data arrives.
        most_bytes: size that was promised; a download ends with an error, and is removed, when it exceeds this.

    Returns:
        Whether this call downloaded it.

    Raises:
        CorruptFileError: the content does not have the expected hash, even after several attempts.
        ValueError: there is no such file, it is larger than `most_bytes`, access is denied, or the server cannot be
            reached.
        OSError: the disk is full. What has arrived is kept, and the next call continues from there.
    """
    with lock(file), disk_errors(file):
        if file.exists():
            return False
        partial = file.with_name(f".{file.name}.partial")
        _download(url, partial, sha256, progress or (lambda _: None), most_bytes)
        publish(partial, file)
        return True


def identity(url: str) -> str:
    """Return a text that changes with the content of a URL; empty if the server offers none. Raises as `fetch`."""
    fs, path = _open_filesystem(url)
    try:
        fs.invalidate_cache()
        info: dict[str, Any] = fs.info(path)
    except Exception as error:
        raise _as_value_error(url, error) from error
    known = {name: str(info[name]) for name in _IDENTITY if info.get(name) is not None}
    return repr(known) if known.keys() - {"size"} else ""  # the size alone does not identify the content


def _download(url: str, partial: Path, sha256: str | None, progress: Progress, most_bytes: int) -> None:
    """Download `url` into `partial`, in several attempts. Raises as `fetch`."""
    fs, path = _open_filesystem(url)
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        try:
            _append(fs, path, partial, progress, most_bytes)
        except _TooLargeError as error:
            partial.unlink()
            raise ValueError(
                f"{public(url)}: larger than the {most_bytes} bytes that were expected; removed"
            ) from error
        except Exception as error:  # every file system raises its own kinds
            if isinstance(error, OSError) and error.errno in FULL_DISK:  # downloading again makes no room
                raise
            if last or _is_final(error):
                raise _as_value_error(url, error) from error
            log.warning("%s: %s; retrying", public(url), _summary(error))
            time.sleep(0.5 * 2**attempt)
            continue
        if sha256 is None or sha256_of(partial) == sha256:
            return
        if last:
            raise CorruptFileError(
                f"{public(url)}: corrupt at the source, its sha256 is not {sha256[:12]}... as in the manifest"
            )
        partial.unlink()
    raise AssertionError


class _TooLargeError(Exception):
    """The server sends more bytes than were promised."""


def _is_final(error: Exception) -> bool:
    """Return whether another attempt would end in the same way."""
    return isinstance(error, (FileNotFoundError, PermissionError, ImportError)) or status_of(error) in (401, 403)


class UnreachableError(ValueError):
    """A server did not answer, or not in a way that says whether the content exists."""


class CorruptFileError(ValueError):
    """The content of a URL does not have the expected hash in any attempt. The partial file is kept."""


def _append(fs: Any, path: str, partial: Path, progress: Progress, most_bytes: int) -> None:
    """Append the rest of the content to the partial file; start over if the server does not support ranges."""
    start = partial.stat().st_size if partial.exists() else 0
    expected = fs.info(path).get("size")
    if expected and expected > most_bytes:
        partial.touch()
        raise _TooLargeError
    if start and expected and start > expected:
        partial.unlink()
        start = 0
    if start:
        try:
            _copy(fs.open(path, "rb", cache_type="readahead"), start, partial, progress, most_bytes)
        except ValueError:  # fsspec raises it for a server without ranges
            partial.unlink()
            start = 0
    if not start:
        streamed = {"block_size": 0} if set(_STREAMED) & set(_protocols(fs)) else {}
        _copy(fs.open(path, "rb", **streamed), 0, partial, progress, most_bytes)
    received = partial.stat().st_size
    if expected and received != expected:
        raise OSError(f"the connection ended after {received} of {expected} bytes")


def _copy(source: Any, start: int, partial: Path, progress: Progress, most_bytes: int) -> None:
    """Append the content of an open remote file, from byte `start` on, to the partial file."""
    with source as content, partial.open("ab") as out:
        if start:
            content.seek(start)
            progress(start)
        received = start
        while chunk := content.read(_CHUNK):
            received += len(chunk)
            if received > most_bytes:  # whatever size the server declared
                raise _TooLargeError
            out.write(chunk)
            progress(len(chunk))


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _open_filesystem(url: str) -> tuple[Any, str]:
    options: dict[str, Any] = {}
    try:
        if scheme_of(url) in ("http", "https"):
            options = {"client_kwargs": {"timeout": _http_timeout()}}
        return fsspec.core.url_to_fs(url, **options)
    except ImportError:
        raise ValueError(f"{public(url)}: needs additional packages: pip install 'srgan-dist[remote]'") from None
    except Exception as error:
        raise _as_value_error(url, error) from error


def _http_timeout() -> Any:
    """Return timeouts for each wait; aiohttp's default limits the entire download to five minutes."""
    import aiohttp  # an optional dependency

    return aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_TIMEOUT)


def open_stream(url: str) -> IO[bytes]:
    """Open a URL for reading once from start to end, in several attempts. Raises as `fetch`."""
    fs, path = _open_filesystem(url)
    streamed = {"block_size": 0} if set(_STREAMED) & set(_protocols(fs)) else {}
    for attempt in range(_ATTEMPTS):
        try:
            return fs.open(path, "rb", **streamed)
        except Exception as error:  # every file system raises its own kinds
            if attempt == _ATTEMPTS - 1 or _is_final(error):
                raise _as_value_error(url, error) from error
            time.sleep(0.5 * 2**attempt)
    raise AssertionError


def _as_value_error(url: str, error: Exception) -> ValueError:
    """Return the error of a file system as an error for the user."""
    if isinstance(error, FileNotFoundError) and type(error.__cause__).__module__.startswith("aiohttp"):
        error = _as_exception(error.__cause__)  # fsspec also says "not found" of unreachable servers
    status, url = status_of(error), public(url)
    hint = f"if its address contains a signature or a password, pass it again or set {SIGNED_URLS}"
    if scheme_of(url) == "hf" and status in (401, 403, 404):
        return ValueError(f"{url}: {hub_refusal(status, error)}")
    if isinstance(error, FileNotFoundError) or status == 404:
        return ValueError(f"{url}: not found (404)")
    if isinstance(error, PermissionError) or status in (401, 403):
        return ValueError(
            f"{url}: access denied; set credentials (HF_TOKEN, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY); {hint}"
        )
    return UnreachableError(f"{url}: cannot be read ({_summary(error)})")


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of an error or of what caused it; None if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        status = getattr(cause, "status", None) or getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        cause = cause.__cause__
    return None


def hub_refusal(status: int, error: BaseException) -> str:
    """Return what a user can do about the status 401, 403 or 404 of the Hugging Face Hub, on one line."""
    if status == 404 and "EntryNotFound" in type(error).__name__ + type(error.__cause__).__name__:
        return "not found (404)"
    if status == 404:
        return "not found (404); if it is private, HF_TOKEN must be the token of an account that may read it"
    return (
        f"access denied ({status}); it is private or gated, or does not exist: set HF_TOKEN to a token with read "
        "access, and accept the conditions of a gated data set on its page"
    )


def _as_exception(error: BaseException | None) -> Exception:
    assert isinstance(error, Exception)
    return error


def _summary(error: Exception) -> str:
    """Return the error's type and message on one line, at most about 200 characters."""
    text = redacted(" ".join(str(error).split()))[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def fetch_small(url: str, cache: Path, most_bytes: int) -> bytes:
    """Return the content of a small file; download it only if the server reports a change.

    If the server cannot be reached, log a warning and return the content of the last download, if there was one.
    Raises as `fetch`.
    """
    file = cache / "small" / hashlib.sha256(public(url).encode()).hexdigest()[:32]
    with lock(file), disk_errors(file):
        try:
            _refresh(url, file, most_bytes)
        except UnreachableError as error:
            if not file.exists():
                raise
            log.warning("%s; using the copy of the last download from the cache", error)
        return file.read_bytes()


def _refresh(url: str, file: Path, most_bytes: int) -> None:
    """Download a small file unless the server reports the identity of the last download, which lies beside it."""
    current, recorded = identity(url), file.with_suffix(".identity")
    if file.exists() and recorded.exists() and current and recorded.read_text() == current:
        return
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _download(url, partial, None, lambda _: None, most_bytes)
    recorded.unlink(missing_ok=True)
    publish(partial, file)
    write_text(current, recorded)
