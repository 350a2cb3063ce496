"""The artifacts of the stub: the contract of the service's own routes, in memory, with an ear for misbehaviour."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, dict[str, Any], dict[str, str]]
Reply = Answer | bytes | str
PART_BYTES = 1024 * 1024


def problem(status: int, code: str) -> Answer:
    return status, {"title": code, "status": status, "code": code, "detail": code}, {}


class ArtifactStore:
    """What is stored, and how it behaves."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.puts: list[tuple[str, str]] = []
        """Run and path of each artifact in the order of arrival, repeats included."""
        self.requests: list[tuple[str, str]] = []
        self.is_known: Callable[[str], bool] = lambda run: True
        self.misbehave: Callable[[str, str, bytes], Reply | None] | None = None
        """Called with method, path and body; may return an answer to give instead, "cut", or "cut_after"."""
        self.lock = threading.Lock()

    def of(self, run: str) -> dict[str, bytes]:
        with self.lock:
            return {path: content for (owner, path), content in self.files.items() if owner == run}

    def handle(self, method: str, url: str, headers: Any, body: bytes) -> Reply:
        with self.lock:
            self.requests.append((method, url))
        verdict = self.misbehave(method, url, body) if self.misbehave else None
        if verdict is not None and verdict != "cut_after":
            return verdict
        with self.lock:
            reply = self._handle(method, url, headers, body)
        return "cut" if verdict == "cut_after" else reply

    def _handle(self, method: str, url: str, headers: Any, body: bytes) -> Reply:
        parts = urlsplit(url)
        run, _, rest = parts.path.removeprefix("/api/v1/runs/").partition("/")
        if not self.is_known(run):
            return problem(404, "not_found")
        kind, _, tail = rest.partition("/")
        if kind == "uploads":
            return self._upload(method, run, tail, body)
        path = unquote(tail)
        if method == "PUT":
            wanted = headers.get("Ingest-Sha256")
            return self._store(run, path, body, wanted)
        if method == "DELETE":
            return (
                (200, {"deleted": 1}, {})
                if self.files.pop((run, path), None) is not None
                else problem(404, "not_found")
            )
        if path:
            content = self.files.get((run, path))
            return problem(404, "not_found") if content is None else content
        return self._list(run, parse_qs(parts.query).get("path", [""])[0])

    def _list(self, run: str, directory: str) -> Answer:
        prefix = f"{directory}/" if directory else ""
        entries: dict[str, dict[str, Any]] = {}
        for (owner, path), content in self.files.items():
            if owner == run and path.startswith(prefix):
                name, slash, _ = path[len(prefix) :].partition("/")
                entries[name] = {
                    "path": prefix + name,
                    "is_dir": bool(slash),
                    "size_bytes": None if slash else len(content),
                }
        return 200, {"files": [entries[name] for name in sorted(entries)], "next_page_token": None}, {}

    def _store(self, run: str, path: str, body: bytes, wanted: str | None) -> Answer:
        sha256 = hashlib.sha256(body).hexdigest()
        if wanted is not None and wanted != sha256:
            return problem(422, "sha256_mismatch")
        self.files[run, path] = body
        self.puts.append((run, path))
        return 200, {"path": path, "size_bytes": len(body), "sha256": sha256}, {}

    def _upload(self, method: str, run: str, tail: str, body: bytes) -> Answer:
        if not tail:
            asked = json.loads(body)
            upload_id = hashlib.sha256(json.dumps([run, asked], sort_keys=True).encode()).hexdigest()[:16]
            upload = self.uploads.setdefault(upload_id, {**asked, "run": run, "parts": {}})
            received = sorted(upload["parts"])
            return 200, {"upload_id": upload_id, "part_bytes": PART_BYTES, "received": received}, {}
        upload_id, _, step = tail.partition("/")
        if upload_id not in self.uploads:
            return problem(404, "upload_unknown")
        if method == "DELETE":
            del self.uploads[upload_id]
            return 200, {}, {}
        upload = self.uploads[upload_id]
        if step == "complete":
            whole = b"".join(upload["parts"][n] for n in sorted(upload["parts"]))
            if len(whole) != upload["size_bytes"]:
                return problem(409, "parts_missing")
            del self.uploads[upload_id]
            return self._store(run, upload["path"], whole, upload["sha256"])
        upload["parts"][int(step)] = body
        return 200, {"part": int(step)}, {}
