"""A stand-in of the Hugging Face Hub's API on 127.0.0.1: data sets in memory, listed, downloaded and committed to."""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

COMMIT = "0" * 40


class Hub:
    """`files` of the one data set it holds; `token` must be given to change it.

    `access` is `public`; `private`: nothing is there without the token; or `gated`: files need the token, but not their
    list.
    """

    def __init__(self, files: dict[str, bytes], token: str = "hf_test", access: str = "public") -> None:
        self.files, self.token, self.url, self.access = files, token, "", access
        self.created: list[dict] = []
        self.uploads: list[int] = []
        self.blobs: dict[str, bytes] = {}

    @contextmanager
    def running(self) -> Iterator["Hub"]:
        hub = self

        class Handler(_Handler):
            owner = hub

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
            self.url = f"http://127.0.0.1:{httpd.server_port}"
            thread = threading.Thread(target=httpd.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                httpd.shutdown()
                thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Hub

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if self.headers.get("Authorization") != f"Bearer {self.owner.token}":
            if self.owner.access == "private":
                return self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
            if self.owner.access == "gated" and "/resolve/" in path:
                return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        if match := re.search(r"/resolve/[^/]+/(.+)$", path):
            return self._file(match[1])
        if re.search(r"/api/datasets/[^/]+/[^/]+(/revision/\w+)?$", path):
            siblings = [{"rfilename": name} for name in self.owner.files]
            return self._json({"id": "user/name", "sha": COMMIT, "private": False, "siblings": siblings, "tags": []})
        if "/tree/" in path:
            rows = [{"type": "file", "path": n, "size": len(c), "oid": _oid(c)} for n, c in self.owner.files.items()]
            return self._json(rows)
        return self._json({"error": "not found"}, 404)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {self.owner.token}":
            return self._json({"error": "Invalid username or password."}, 401)
        if self.path.startswith("/api/repos/create"):
            self.owner.created.append(json.loads(body))
            return self._json({"url": f"{self.owner.url}/datasets/user/name"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            mode = [{"path": f["path"], "uploadMode": "lfs" if f["path"].endswith("tar") else "regular"} for f in files]
            return self._json({"files": [m | {"shouldIgnore": False} for m in mode]})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [self._lfs(o) for o in json.loads(body)["objects"]]
            return self._json({"transfer": "basic", "objects": objects})
        if "/commit/" in self.path:
            self._commit([json.loads(line) for line in body.splitlines()])
            return self._json(
                {
                    "success": True,
                    "commitOid": COMMIT,
                    "commitUrl": f"{self.owner.url}/datasets/user/name/commit/{COMMIT}",
                }
            )
        return self._json({})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.owner.blobs[hashlib.sha256(content).hexdigest()] = content
        self.owner.uploads.append(len(content))
        self._json({})

    def _lfs(self, wanted: dict) -> dict:
        if wanted["oid"] in self.owner.blobs:
            return wanted
        return wanted | {"actions": {"upload": {"href": f"{self.owner.url}/upload/{wanted['oid']}"}}}

    def _commit(self, lines: list[dict]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.owner.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.owner.files[value["path"]] = self.owner.blobs[value["oid"]]

    def _file(self, name: str) -> None:
        content = self.owner.files.get(name)
        if content is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206 if first else 200, content[first:], headers)

    def _json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
