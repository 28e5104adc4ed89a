"""A stand-in for the Hugging Face hub on this machine: as much of its HTTP interface as one push and one download use."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Repositories live in `server.repositories`: id -> {path: content}."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path == "/api/repos/create":
            values = json.loads(body)
            name = "/".join(filter(None, [values.get("organization"), values["name"]]))
            name = name if "/" in name else f"somebody/{name}"
            if self.headers.get("Authorization") != "Bearer hf_right":
                return self.answer(401, {"error": "Invalid username or password."})
            known = name in self.server.repositories
            self.server.repositories.setdefault(name, {})
            return self.answer(
                409 if known else 200, {"url": f"{self.server.address}/{name}", "name": name, "id": name}
            )
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        _, _, _, owner, name, action, *_ = path.split("/")
        repository = self.server.repositories[f"{owner}/{name}"]
        if action == "preupload":
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        assert action == "commit", path
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                repository[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        url = f"{self.server.address}/{owner}/{name}"
        self.answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": f"{url}/commit/{COMMIT}"})

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            repository = self.server.repositories.get("/".join(parts[2:4]))
            if repository is None:
                return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            if "tree" in parts:
                tree = [self.entry(name, content) for name, content in repository.items()]
                return self.answer(200, tree)
            name = "/".join(parts[2:4])
            siblings = [{"rfilename": name} for name in repository]
            return self.answer(200, {"id": name, "sha": COMMIT, "siblings": siblings, "private": False})
        name, file = "/".join(parts[:2]), "/".join(parts[4:])
        content = self.server.repositories.get(name, {}).get(file)
        if content is None:
            return self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        self.server.fetched.append(file)
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self.answer(200, content, headers)

    do_HEAD = do_GET

    def entry(self, name: str, content: bytes) -> dict:
        return {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }

    def answer(self, code: int, content, headers: dict | None = None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *arguments):
        self.server.log.append(f"{self.command} {self.path}")


@contextmanager
def hub() -> Iterator[ThreadingHTTPServer]:
    """The stand-in, running; its `address` is what HF_ENDPOINT names."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.repositories, server.fetched, server.log = {}, [], []
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
