"""A small Hugging Face Hub on this machine, with one data set `me/shapes`, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "a" * 40
_API, _FILES = "/api/datasets/me/shapes", "/datasets/me/shapes/resolve/"


class _Hub(BaseHTTPRequestHandler):
    root: Path

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        if path in (_API, f"{_API}/revision/main", f"{_API}/revision/{COMMIT}"):
            facts = {"_id": "1", "id": "me/shapes", "sha": COMMIT, "tags": [], "siblings": []}
            self._json(facts)
        elif path.startswith(f"{_API}/tree/"):
            self._tree(self.root / path.removeprefix(f"{_API}/tree/").partition("/")[2])
        elif path.startswith(_FILES):
            self._file(self.root / path.removeprefix(_FILES).partition("/")[2])
        else:
            self._send(404, b"{}", X_Error_Code="RepoNotFound")

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), Content_Type="application/json")

    def _tree(self, folder: Path) -> None:
        if not folder.is_dir():
            return self._send(404, b"{}", X_Error_Code="EntryNotFound")
        entries = [
            {
                "type": "file" if each.is_file() else "directory",
                "oid": hashlib.sha1(each.name.encode()).hexdigest(),
                "size": each.stat().st_size if each.is_file() else 0,
                "path": each.relative_to(self.root).as_posix(),
            }
            for each in sorted(folder.iterdir())
        ]
        return self._json(entries)

    def _file(self, file: Path) -> None:
        if not file.is_file():
            return self._send(404, b"{}", X_Error_Code="EntryNotFound")
        content = file.read_bytes()
        facts = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X_Repo_Commit": COMMIT}
        wanted = self.headers.get("Range")
        if wanted and self.command == "GET":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last or len(content)) + 1]
            place = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
            return self._send(206, part, Content_Range=place, **facts)
        return self._send(200, content, Accept_Ranges="bytes", **facts)

    def _send(self, code: int, content: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def hub(root: Path) -> Iterator[str]:
    """Serve the files below `root` as the data set `me/shapes`; gives the Hub's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (_Hub,), {"root": root}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
