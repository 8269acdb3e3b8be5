"""URLs that may contain secrets: what of them may be written down, and how the secrets are found again.

User name, password, query and fragment of a URL stay in memory. Files, logs and MLflow only receive the rest.
"""

import os
import re
import shlex
from typing import Any
from urllib.parse import quote, urlsplit

SIGNED_URLS = "SRGAN_SIGNED_URLS"
"""Environment variable with URLs, separated by spaces, that contain the secrets of URLs that were saved without."""
PIPE = "pipe:"
"""Start of an entry of `data.stream` that is a shell command."""
_OMITTED = "[not saved]"
_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_COMMAND = re.compile(r"pipe:(?:[^\s'\"]*[ \t])?.*", re.DOTALL)


def is_url(location: str) -> bool:
    """Return whether a location is a URL rather than a local path."""
    return "://" in location


def scheme_of(location: str) -> str:
    """Return the scheme of a URL in lower case, `pipe` for a shell command, or `file` for a local path."""
    if location.startswith(PIPE):
        return "pipe"
    return location.split("://")[0].lower() if is_url(location) else "file"


def local_path(location: str) -> str:
    """Return the path of a local location, which may begin with `file://`.

    Example:
        >>> local_path("shards/a"), local_path("file:///data/a"), local_path("file:///C:/a")
        ('shards/a', '/data/a', 'C:/a')
    """
    return re.sub("^/(?=[A-Za-z]:)", "", location.removeprefix("file://")) if is_url(location) else location


def public(location: str) -> str:
    """Return a location without what may be secret: user name, password, query and fragment of a URL.

    Of a shell command only the program remains. A local path is returned unchanged.

    Example:
        >>> public("https://me:secret@example.org/shards?signature=abc#part")
        'https://example.org/shards'
        >>> public("pipe:curl -H 'Authorization: abc' https://example.org")
        'pipe:curl [not saved]'
    """
    if location.startswith(PIPE):
        first = "".join(location.removeprefix(PIPE).removesuffix(_OMITTED).split()[:1])
        return f"{PIPE}{first if re.fullmatch(r'[A-Za-z0-9_.-]*', first) else ''} {_OMITTED}"
    if not is_url(location):
        return location
    scheme, _, rest = location.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def redacted(text: str) -> str:
    """Return text, such as a message or a command, in which all URLs are replaced by their public part."""
    return _URL.sub(lambda match: public(match[0]), text)


def redacted_command(command: list[str]) -> list[str]:
    """Return a command line in which URLs and shell commands (`pipe:`) are replaced by their public part."""
    shown = [_COMMAND.sub(lambda match: public(match[0]), arg) for arg in command]
    return [redacted(arg) for arg in shown]


def without_secrets(tree: Any) -> Any:
    """Return plain JSON values in which every location is replaced by its public part."""
    if isinstance(tree, dict):
        return {name: without_secrets(value) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [without_secrets(value) for value in tree]
    if isinstance(tree, str):
        return public(tree) if tree.startswith(PIPE) else redacted(tree)
    return tree


def with_secrets(location: str) -> str:
    """Return a location with its secrets, if `SRGAN_SIGNED_URLS` contains a URL of the same public part.

    Example:
        >>> import os
        >>> os.environ["SRGAN_SIGNED_URLS"] = "https://example.org/a?key=1 https://example.org/b?key=2"
        >>> with_secrets("https://example.org/b"), with_secrets("https://example.org/c")
        ('https://example.org/b?key=2', 'https://example.org/c')
        >>> del os.environ["SRGAN_SIGNED_URLS"]
    """
    if not is_url(location) or public(location) != location:
        return location
    known = {public(url).rstrip("/"): url for url in os.environ.get(SIGNED_URLS, "").split()}
    return known.get(location.rstrip("/"), location)


def was_shortened(location: str) -> bool:
    """Return whether a location is a shell command of which `public` has left only the program."""
    return location.startswith(PIPE) and location.endswith(_OMITTED)


def join(location: str, name: str) -> str:
    """Return the URL of a file in a folder. A query stays at the end; `name` is quoted for http(s).

    Raises:
        ValueError: If the location is not a valid URL.

    Example:
        >>> join("https://example.org/shards?key=1", "train 0.tar")
        'https://example.org/shards/train%200.tar?key=1'
    """
    scheme = scheme_of(location)
    if scheme not in ("http", "https"):
        return f"{location.rstrip('/')}/{name}"
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise ValueError(f"{public(location)}: not a valid URL ({error})") from None
    return parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}").geturl()


def shell(command: list[str]) -> str:
    """Return a command line for a shell, quoted, without secrets and without control characters."""
    return shlex.join("".join(c if c.isprintable() else "?" for c in arg) for arg in redacted_command(command))
