"""Downloads of single files of known size and SHA-256: once per machine, continued, checked, and written atomically."""

import logging
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from srgan_dist.utils.file_lock import lock
from srgan_dist.utils.files import FULL_DISK, disk_errors, publish, sha256_of
from srgan_dist.utils.progress import byte_bar

log = logging.getLogger("srgan_dist")

_TIMEOUT = 30.0
"""Seconds that a server may be silent."""
_CHUNK = 1 << 18
_ATTEMPTS = 3
_PAUSE = 0.5
"""Seconds before the second attempt; doubled before each further one."""


class DownloadError(ValueError):
    """A file could not be downloaded; the message says why, without its name."""


def download(url: str, file: Path, sha256: str, size: int) -> None:
    """Download `url` to `file` unless it exists; continue an interrupted download.

    Processes of one machine that want the same file wait for the one that downloads it. The file appears under its name
    only once it is complete and has the expected SHA-256.

    Args:
        url: An http or https address.
        file: Where to write; its folder is created.
        sha256: Expected SHA-256 of the content, in hexadecimal.
        size: Expected size in bytes.

    Raises:
        DownloadError: If the server cannot be reached, has no such file, or sends another content.
        OSError: If the disk is full. What has arrived is kept, and the next call continues from there.
    """
    with lock(file), disk_errors(file):
        if file.exists():
            return
        partial = file.with_name(f".{file.name}.partial")
        _download(url, partial, size)
        if (found := sha256_of(partial)) != sha256:
            partial.unlink()
            raise DownloadError(f"its sha256 is {found[:12]}..., not {sha256[:12]}...; it was removed")
        publish(partial, file)


def _download(url: str, partial: Path, size: int) -> None:
    """Fill the partial file up to its size, in several attempts."""
    for attempt in range(_ATTEMPTS):
        try:
            _append(url, partial, size)
            return
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and error.errno in FULL_DISK:  # downloading again makes no room
                raise
            if isinstance(error, HTTPError) and error.code == 416:  # the server's file ends before what has arrived
                partial.unlink(missing_ok=True)
            elif isinstance(error, HTTPError) and 400 <= error.code < 500:
                raise DownloadError(_reason(error)) from error
            if attempt == _ATTEMPTS - 1:
                raise DownloadError(_reason(error)) from error
            log.warning("%s: %s; retrying", url, _reason(error))
            time.sleep(_PAUSE * 2**attempt)


def _append(url: str, partial: Path, size: int) -> None:
    """Append the rest of the content to the partial file; start over if the server does not support ranges.

    Raises:
        OSError: If the server cannot be reached, or the connection ends early.
        DownloadError: If the server offers another size.
    """
    start = partial.stat().st_size if partial.exists() else 0
    if start == size:
        return
    request = Request(url, headers={"User-Agent": "srgan-dist"} | ({"Range": f"bytes={start}-"} if start else {}))
    with urlopen(request, timeout=_TIMEOUT) as answer:
        start = start if answer.status == 206 else 0
        offered = answer.headers.get("Content-Length")
        if offered is not None and start + int(offered) != size:
            partial.unlink(missing_ok=True)
            raise DownloadError(f"the server offers {start + int(offered):,} bytes instead of {size:,}")
        with partial.open("ab" if start else "wb") as out, byte_bar(partial.name.strip("."), start, size) as advance:
            while start < size and (chunk := answer.read(min(_CHUNK, size - start))):
                out.write(chunk)
                start += len(chunk)
                advance(len(chunk))
    if start < size:
        raise ConnectionError(f"the connection ended after {start:,} of {size:,} bytes")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    code = f"{error.code} " if isinstance(error, HTTPError) else ""
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause).strip()
    return code + (text or type(cause).__name__).splitlines()[0]
