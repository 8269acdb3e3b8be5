"""`srgan mlflow`: open the charts of the training runs in the MLflow UI."""

import os
import sys
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srgan_dist.cli.console import FAILED, WRONG_USAGE, show_list
from srgan_dist.utils.terminal import printable, write_error, write_out

if TYPE_CHECKING:
    from srgan_dist.tracking.ui_server import Page

_HOST, _PORT = "127.0.0.1", "5000"
_QUIET = "--no-browser"


def main(args: list[str]) -> int:
    """Run `srgan mlflow`, and return the exit code: 1 if there is nothing to show, or the server fails.

    Raises:
        ValueError: If there is no database, or it cannot be read or served.
    """
    if any(arg in ("-h", "--help") for arg in args):
        flags = {
            "--port PORT": f"{_PORT} by default",
            "--host ADDRESS": f"{_HOST} by default, which only this machine can reach",
            _QUIET: "print the link, but do not open it",
        }
        hint = "All other flags are passed on to `mlflow server`; `mlflow server --help` lists them."
        return show_list("usage: srgan mlflow [flags]", "flags", flags, hint)
    host, rest = _take(list(args), "--host", _HOST)
    port, rest = _take(rest, "--port", _PORT)
    if not port.isdigit() or not 0 < int(port) < 1 << 16:
        write_error(f"error: --port {port}: not a port; expected a number from 1 to 65535\n")
        return WRONG_USAGE
    return _show(host, int(port), [arg for arg in rest if arg != _QUIET], opens=_QUIET not in rest)


def _take(args: list[str], flag: str, default: str) -> tuple[str, list[str]]:
    """Return the value of a flag and the other arguments."""
    value, rest, words = default, list[str](), iter(args)
    for word in words:
        if word == flag:
            value = next(words, "")
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
        else:
            rest.append(word)
    return value, rest


def _show(host: str, port: int, args: Sequence[str], opens: bool) -> int:
    from srgan_dist.tracking.server import shown, tracking_uri
    from srgan_dist.tracking.ui_server import find_pages, serve
    from srgan_dist.utils.cache_folder import provide_home

    uri = tracking_uri()
    provide_home()
    pages = find_pages(uri)
    if uri.startswith("http"):
        _announce(shown(uri), pages, opens)
        return 0
    try:
        code = serve(uri, host, port, args, lambda address: _announce(address, pages, opens))
    except KeyboardInterrupt:  # the way to stop it
        write_error("\n")
        return 0
    if code:
        write_error(f"error: MLflow's server ended with exit code {code}\n")
    return FAILED if code else 0


def _announce(address: str, pages: Sequence["Page"], opens: bool) -> None:
    """Print the links to the charts of all experiments, and open the one with the latest run."""
    from srgan_dist.tracking.chart_page import chart_page

    links = {page.name: chart_page(address, page.experiment) for page in pages} or {"no runs yet": address}
    write_out("".join(f"{printable(name)}: {printable(link)}\n" for name, link in links.items()))
    if opens and _has_browser():
        webbrowser.open(next(iter(links.values())))


def _has_browser() -> bool:
    """Return whether a browser would open in a window: one for text would take over this terminal."""
    windows = sys.platform in ("win32", "darwin")
    return windows or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
