"""A hub of datasets on loopback: what the package `datasets` asks of one, and nothing else."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote


def only_hub(monkeypatch, url: str, home: Path) -> None:
    """Have this process and those that it starts reach no other hub, and no other home.

    Args:
        monkeypatch: of the test.
        url: of the hub.
        home: a folder in which a home would be.
    """
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HOME", str(home / "home"))
    for name in ("HF_HOME", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


class HubSite:
    """A server with one dataset at several commits, to be used in a `with`.

    Args:
        name: of the dataset, such as owner/name.

    Attributes:
        commits: commit to its files (path to bytes).
        branches: branch to commit.
        requests: method and path of every request.
        url: for HF_ENDPOINT.
    """

    def __init__(self, name: str):
        self.name = name
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.requests: list[str] = []

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Put a branch at a new commit with these files; its name."""
        content = b"".join(path.encode() + b"\0" + data for path, data in sorted(files.items()))
        name = hashlib.sha1(content).hexdigest()
        self.commits[name], self.branches[branch] = files, name
        return name

    def __enter__(self) -> HubSite:
        handler = type("Handler", (_Handler,), {"site": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Take the server from the network."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    """Answers of a hub: a dataset at a revision, its tree, facts of paths, and files."""

    site: HubSite
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """Answer a request of any method; a HEAD without its body."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path.partition("?")[0])
        self.site.requests.append(f"{self.command} {path}")
        about, files = f"/api/datasets/{self.site.name}", f"/datasets/{self.site.name}/resolve/"
        if path == about or path.startswith(f"{about}/"):
            kind, _, rest = path.removeprefix(about).strip("/").partition("/")
            self._about(kind or "revision", rest or "main", body)
        elif path.startswith(files):
            self._file(*path.removeprefix(files).split("/", 1))
        else:
            self._answer(404, b"", X_Error_Code="RepoNotFound")

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _commit(self, revision: str) -> str | None:
        commit = self.site.branches.get(revision, revision)
        return commit if commit in self.site.commits else None

    def _about(self, kind: str, rest: str, body: bytes) -> None:
        revision, _, below = rest.partition("/")
        commit = self._commit(revision)
        if commit is None:
            self._answer(404, b"", X_Error_Code="RevisionNotFound")
            return
        files = self.site.commits[commit]
        if kind == "revision":
            siblings = [{"rfilename": path, "size": len(data)} for path, data in files.items()]
            self._json({"id": self.site.name, "sha": commit, "siblings": siblings, "tags": []})
        elif kind == "tree":
            self._json(_tree(files, below, "recursive=true" in self.path.lower()))
        elif kind == "paths-info":
            asked = parse_qs(body.decode()).get("paths", [])
            self._json([_entry(path, files[path]) for path in asked if path in files])
        else:
            self._answer(404, b"")

    def _file(self, revision: str, path: str) -> None:
        commit = self._commit(revision)
        if commit is None:
            self._answer(404, b"", X_Error_Code="RevisionNotFound")
            return
        data = self.site.commits[commit].get(path)
        if data is None:
            self._answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        status, part = 200, data
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            status, part = 206, data[int(first) : int(last or len(data)) + 1]
        headers = {"ETag": f'"{_entry(path, data)["oid"]}"', "X_Repo_Commit": commit}
        self._answer(status, part, Accept_Ranges="bytes", **headers)

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), Content_Type="application/json")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _tree(files: dict[str, bytes], below: str, whole: bool) -> list[dict]:
    """What is in a folder: its files and folders, and with `whole` theirs too."""
    start = f"{below}/" if below else ""
    inside = {path: data for path, data in files.items() if path.startswith(start)}
    deep = {p.removeprefix(start).split("/")[0] for p in inside if "/" in p.removeprefix(start)}
    folders = [{"type": "directory", "path": start + name, "size": 0, "oid": ""} for name in deep]
    plain = [_entry(p, d) for p, d in inside.items() if whole or "/" not in p.removeprefix(start)]
    return [*folders, *plain]


def _entry(path: str, data: bytes) -> dict:
    """A file as a hub's tree lists it."""
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return {"type": "file", "path": path, "size": len(data), "oid": oid}
