"""What people read: text from outside is quoted here, and streams that are gone never become tracebacks."""

import errno
import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import IO

_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # escape codes, which move the cursor, rename the window or fake other lines
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line separators, and marks that reverse the reading direction
    "\ud800-\udfff]"  # bytes of a file name that are not UTF-8, as Python decodes them
)
_KEPT = {"\n", "\t"}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object) -> str:
    r"""Return text on one line with control characters escaped, as in "a\x1b[2Jb\nc"; for names from outside."""
    return _CONTROLS.sub(lambda found: _escaped(found[0]), str(text))


def printable_lines(text: object) -> str:
    """Return text with all control characters escaped except newlines and tabs; for messages and tables."""
    return _CONTROLS.sub(lambda found: found[0] if found[0] in _KEPT else _escaped(found[0]), str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # the byte in the file's name
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class ListedError(ValueError):
    """A user error of several lines, each of which is quoted by itself; any other user error is shown on one line."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def lines_of(error: BaseException) -> tuple[str, ...]:
    """Return the message of a user error by lines."""
    if isinstance(error, ListedError):
        return error.lines
    return (str(error) if isinstance(error, UnicodeError) or not error.args else str(error.args[0]),)


def write_out(text: str) -> None:
    """Write to standard output, with control characters escaped.

    If the reader has left, as in `srgan ... | head -1`, the text is dropped: the reader has all that it wanted.

    Raises:
        ValueError: standard output cannot be written, for example because its disk is full.
    """
    with printing():
        sys.stdout.write(printable_lines(text))
        sys.stdout.flush()


@contextmanager
def printing() -> Generator[None]:
    """Run a block in which nothing but standard output can raise an OSError; see `write_out`.

    If the reader has left, the rest of the block is left out as well.

    Raises:
        ValueError: standard output cannot be written.
    """
    try:
        yield
    except OSError as error:
        _discard(sys.stdout)
        if not _is_closed(error):
            raise ValueError(f"standard output cannot be written ({error.strerror or error})") from None


def write_error(text: str) -> None:
    """Write to standard error, with control characters escaped; where it is gone, drop the text."""
    try:
        sys.stderr.write(printable_lines(text))
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def open_streams() -> None:
    """Replace closed standard streams by the null device, and let none of them refuse a character.

    Python has no stream for a closed descriptor, and the next file that is opened would get its number: what a library
    prints would end up in that file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # a test or a notebook has put something else there
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


def close_streams(code: int) -> int:
    """Flush the standard streams before the program exits; return the exit code, which is 1 if a flush failed.

    Without this, Python reports a failed flush at its exit with a traceback and the exit code 120.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if not _is_closed(error):
            write_error(f"error: standard output cannot be written ({error.strerror or error})\n")
            code = code or 1
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code


def _is_closed(error: OSError) -> bool:
    """Return whether nobody reads the stream: its reader has left, or the terminal is gone."""
    return isinstance(error, BrokenPipeError) or error.errno in (errno.EIO, errno.EBADF, errno.EINVAL)


def _discard(stream: IO[str]) -> None:
    """Send what is written to a stream from now on to the null device."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
