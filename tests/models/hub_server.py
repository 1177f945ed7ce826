"""A Hugging Face Hub in one folder: the few addresses that its client asks for, and no more.

repositories lie as FOLDER/owner/name/file; one commit is all their history
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RESOLVE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)")
PREUPLOAD = re.compile(r"/api/models/([\w.-]+/[\w.-]+)/preupload/main")
BATCH = re.compile(r"/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch")
COMMITS = re.compile(r"/api/models/([\w.-]+/[\w.-]+)/commit/main")


class Server(ThreadingHTTPServer):
    """Serves `folder`; `asked` gathers what was asked for, `cut` bytes of each answer are lost."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.asked: list[str] = []
        self.large: dict[str, bytes] = {}
        self.cut = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.resolve(body=False)

    def do_GET(self) -> None:
        self.resolve(body=True)

    def do_PUT(self) -> None:
        data = self.read()
        self.server.large[hashlib.sha256(data).hexdigest()] = data
        self.answer(200, b"")

    def do_POST(self) -> None:
        self.note()
        data = self.read()
        if self.path == "/api/repos/create":
            sent = json.loads(data)
            name = "/".join(filter(None, (sent.get("organization"), sent["name"])))
            self.reply({"url": f"{self.server.address}/{name}", "id": name, "name": name})
        elif self.path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif PREUPLOAD.fullmatch(self.path):
            names = [each["path"] for each in json.loads(data)["files"]]
            modes = [
                {
                    "path": name,
                    "uploadMode": "lfs" if name.endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for name in names
            ]
            self.reply({"files": modes})
        elif BATCH.fullmatch(self.path):
            self.reply({"transfer": "basic", "objects": self.places(json.loads(data))})
        elif found := COMMITS.fullmatch(self.path):
            self.commit(found[1], [json.loads(line) for line in data.splitlines() if line])
        else:
            self.missing("unknown")

    def places(self, sent: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            each | {"actions": {"upload": {"href": f"{self.server.address}/large/{each['oid']}"}}}
            for each in sent["objects"]
        ]

    def commit(self, repo_id: str, lines: list[dict[str, Any]]) -> None:
        folder = self.server.folder / repo_id
        folder.mkdir(parents=True, exist_ok=True)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                (folder / value["path"]).write_bytes(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                (folder / value["path"]).write_bytes(self.server.large[value["oid"]])
        address = f"{self.server.address}/{repo_id}/commit/{COMMIT}"
        self.reply({"commitUrl": address, "commitOid": COMMIT, "pullRequestUrl": None})

    def resolve(self, body: bool) -> None:
        self.note()
        found = RESOLVE.fullmatch(self.path)
        if found is None or not (self.server.folder / found[1]).is_dir():
            self.missing("RepoNotFound")
        elif not (self.server.folder / found[1] / found[3]).is_file():
            self.missing("EntryNotFound")
        else:
            data = (self.server.folder / found[1] / found[3]).read_bytes()
            self.answer(200, data, body=body, etag=hashlib.sha256(data).hexdigest())

    def missing(self, code: str) -> None:
        self.answer(404, b"", code=code)

    def reply(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode())

    def answer(
        self, status: int, data: bytes, *, body: bool = True, etag: str = "", code: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) - self.server.cut])
            self.close_connection = bool(self.server.cut)

    def note(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")

    def read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            blocks = []
            while length := int(self.rfile.readline(), 16):
                blocks.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(blocks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
