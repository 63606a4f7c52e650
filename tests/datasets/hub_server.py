"""A small server that answers as the Hugging Face Hub does: the files of repositories,
with ranges.
"""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.respond(with_body=False)

    def do_GET(self):
        self.respond(with_body=True)

    def respond(self, with_body):
        self.server.requests.append(
            (self.command, self.path, self.headers.get("Range"))
        )
        path = self.path.split("?")[0]
        found = re.fullmatch(
            r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path
        )
        if found and f"{found[1]}/{found[2]}" in self.server.repos:
            files = self.server.repos[f"{found[1]}/{found[2]}"]
            if found[4] not in (None, "main", COMMIT):
                return self.send(
                    404, b"{}", with_body, {"X-Error-Code": "RevisionNotFound"}
                )
            if found[3] == "tree":
                content = [
                    {"type": "file", "path": name, "size": len(data), "oid": tag(data)}
                    for name, data in files.items()
                ]
            else:
                siblings = [{"rfilename": name} for name in files]
                content = {
                    "id": found[2],
                    "sha": COMMIT,
                    "siblings": siblings,
                    "private": False,
                    "tags": [],
                }
            return self.send(
                200,
                json.dumps(content).encode(),
                with_body,
                {"Content-Type": "application/json"},
            )
        found = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found:
            files = self.server.repos.get(
                f"{'datasets' if found[1] else 'models'}/{found[2]}", {}
            )
            if found[4] in files:
                return self.send_file(files[found[4]], with_body)
        return self.send(404, b"{}", with_body, {"X-Error-Code": "RepoNotFound"})

    def send_file(self, data, with_body):
        headers = {
            "ETag": f'"{tag(data)}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if part is None:
            return self.send(200, data, with_body, headers)
        start = int(part[1])
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self.send(206, data[start:], with_body, headers)

    def send(self, status, data, with_body, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)


def tag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve(repos: dict):
    """Serve repositories ("datasets/owner/name" -> {file: bytes}); yield the server,
    whose `url` is its address.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.repos, server.requests = repos, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
