"""Small servers on 127.0.0.1 that count what is asked of them."""

import functools
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Server:
    """A folder over HTTP. `cut` names files of which only the first half is sent, that many times."""

    def __init__(self, folder: Path) -> None:
        self.gets: Counter[str] = Counter()
        self.cut: dict[str, int] = {}
        self.ranges = True
        self.url = ""
        self.folder = folder

    @contextmanager
    def running(self) -> Iterator["Server"]:
        handler = functools.partial(_Handler, self, directory=str(self.folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
            self.url = f"http://127.0.0.1:{httpd.server_port}"
            thread = threading.Thread(target=httpd.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                httpd.shutdown()
                thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, server: Server, *args, **kwargs) -> None:
        self.owner = server
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        name = self.path.strip("/")
        file = self.owner.folder / name
        self.owner.gets[name] += 1
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        asked = self.headers.get("Range")
        if asked and self.owner.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1, len(content)) if last else len(content)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(content)}")
            content = content[int(first) : end]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Accept-Ranges", "bytes" if self.owner.ranges else "none")
        self.end_headers()
        if self.owner.cut.get(name, 0) > 0:
            self.owner.cut[name] -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass
