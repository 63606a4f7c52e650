"""A small Hugging Face Hub on loopback: models are made, files committed and read
again; nothing else.
"""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """Attributes: files: "USER/NAME" -> path -> bytes. requests: method and path of
    each. token: that is asked for.
    """

    def __init__(self, token: str = "hf_test") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.requests: list[str] = []
        self.token = token

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit_of(self, repository: str) -> str:
        digest = hashlib.sha1()
        for path, content in sorted(self.files[repository].items()):
            digest.update(path.encode() + content)
        return digest.hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args) -> None: ...

    def do_POST(self) -> None:
        self.server.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        parts = self.path.strip("/").split("/")
        if parts == ["api", "validate-yaml"]:
            self._json(200, {"errors": [], "warnings": []})
        elif self.headers["Authorization"] != f"Bearer {self.server.token}":
            self._json(401, {"error": "Invalid username or password."})
        elif parts == ["api", "repos", "create"]:
            wanted = json.loads(body)
            name = "/".join(filter(None, [wanted.get("organization"), wanted["name"]]))
            status = 409 if name in self.server.files else 200
            self.server.files.setdefault(name, {})
            is_private = wanted.get("private") or wanted.get("visibility") == "private"
            self.server.private.setdefault(name, is_private)
            self._json(status, {"url": f"{self.server.address}/{name}", "name": name})
        elif parts[4:5] == ["preupload"]:
            files = json.loads(body)["files"]
            self._json(
                200,
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "regular",
                            "shouldIgnore": False,
                        }
                        for file in files
                    ]
                },
            )
        elif parts[4:5] == ["commit"]:
            repository = "/".join(parts[2:4])
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.server.files[repository][entry["value"]["path"]] = content
            commit = self.server.commit_of(repository)
            url = f"{self.server.address}/{repository}/commit/{commit}"
            self._json(200, {"success": True, "commitOid": commit, "commitUrl": url})
        else:
            self._json(404, {"error": "not found"})

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        parts = self.path.strip("/").split("/")
        repository, file = "/".join(parts[:2]), "/".join(parts[4:])
        content = self.server.files.get(repository, {}).get(file)
        if parts[2:3] != ["resolve"] or content is None:
            code = (
                "EntryNotFound" if repository in self.server.files else "RepoNotFound"
            )
            self._json(404, {"error": "not found"}, {"X-Error-Code": code})
            return
        commit = self.server.commit_of(repository)
        etag = hashlib.sha1(content).hexdigest()
        self._reply(
            200,
            content,
            {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"},
        )

    do_HEAD = do_GET

    def _json(self, status: int, value: object, headers: dict | None = None) -> None:
        self._reply(
            status,
            json.dumps(value).encode(),
            {"Content-Type": "application/json"} | (headers or {}),
        )

    def _reply(self, status: int, content: bytes, headers: dict) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running():
    """Yield a hub that answers until the block ends."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
