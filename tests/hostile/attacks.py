"""Material for the attacks: manifests, tars, servers and processes with limits."""

import base64
import gzip
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def changed_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return folder


def tar_of(members: dict[str, bytes], folders: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in folders:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def gzip_bomb(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A compressed tar with one member of `size` zeros, a thousandth of that on disk."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed:
        packed.write(info.tobuf(tarfile.GNU_FORMAT))
        zeros = bytes(1 << 20)
        for _ in range(-(-size // len(zeros))):
            packed.write(zeros)
    return out.getvalue()


class Liar(http.server.BaseHTTPRequestHandler):
    """Serves `manifest` as manifest.json, and zeros for anything else, until the other side hangs up."""

    manifest: bytes | None = None
    sent = 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            if self.manifest is not None and self.path.startswith("/manifest.json"):
                self.wfile.write(self.manifest)
                return
            while type(self).sent < 1 << 30:
                self.wfile.write(bytes(1 << 20))
                type(self).sent += 1 << 20
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def lying_server(manifest: bytes | None) -> Iterator[tuple[str, type[Liar]]]:
    handler = type("Handler", (Liar,), {"manifest": manifest, "sent": 0})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()


@contextmanager
def signed_server(folder: Path, password: str, signature: str) -> Iterator[str]:
    """Serves a folder to those who give the password and the signature; yields `127.0.0.1:PORT`."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, directory=str(folder), **kwargs)

        def send_head(self):
            expected = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()
            if self.headers.get("Authorization") != expected or not self.path.endswith(f"?sig={signature}"):
                self.send_error(403)
                return None
            return super().send_head()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
