"""The upload of one artifact, request by request. No thread, no clock, no socket: the caller sends, waits and repeats.

Small files go by one PUT; larger ones in parts, of which the service remembers those that have arrived: after a cut line, or in
another process after this one was killed, the same request opens the same upload and only the missing parts are sent. The
service compares the SHA-256 of what it has put together with ours before it keeps anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ingest_client._artifacts_paths import quoted
from ingest_client._protocol import Refused, Retry, hint_for, json_object, retry_after
from ingest_client._transport import Body, Response

__all__ = ["Outcome", "Send", "Upload", "Uploaded", "refusal_of", "remove"]

PARTS_FROM_BYTES: Final = 8 * 1024 * 1024
"""Below, a cut line costs at most a second of a slow uplink; beyond, it would cost the whole file again."""

PIECE_BYTES: Final = 256 * 1024
"""Read and sent at once: bounds the memory, and how long a training thread waits for the GIL."""

HASH_STEP_BYTES: Final = 64 * 1024 * 1024
MAX_MISMATCHES: Final = 3
"""So often a content that arrived damaged is sent again; after that the fault is not the line's."""

_PERMANENT: Final = frozenset({400, 413, 422})
_PERMANENT_CODES: Final = frozenset({"path_taken", "run_gone"})
_DAMAGED: Final = frozenset({"sha256_mismatch", "size_mismatch"})

Send = Callable[[str, str, Body, Mapping[str, str]], Response]
"""Method, path, body, headers; raises whatever the network raises."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The service has it, whole."""

    size_bytes: int


Outcome = Uploaded | Refused | Retry


class Upload:
    """One artifact on its way. Call `advance` until it says what became of it; after a Retry, again later."""

    def __init__(
        self,
        run_id: UUID,
        path: str,
        content: Path,
        size_bytes: int,
        send: Send,
        *,
        breathe: Callable[[], object] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            run_id, path: Where it goes.
            content, size_bytes: The file, which does not change meanwhile.
            send: Sends one request.
            breathe: Called between pieces.
        """
        self.sent_bytes = 0
        """Of bodies, repeats included."""
        self._base = f"/api/v1/runs/{run_id.hex}"
        self._path = path
        self._content = content
        self._size = size_bytes
        self._send = send
        self._breathe = breathe
        self._hash = hashlib.sha256()
        self._hashed_bytes = 0
        self._sha256 = ""
        self._missing: list[int] | None = None
        self._upload = ""
        self._part_bytes = 0
        self._mismatches = 0
        self._losses = 0

    def advance(self) -> Outcome | None:
        """One step of bounded length: None if more is to do.

        Raises:
            OSError: The file can't be read, or the network.
        """
        if not self._sha256:
            self._hash_on()
            return None
        if self._size < PARTS_FROM_BYTES:
            return self._put_whole()
        if self._missing is None:
            return self._open()
        if self._missing:
            return self._put_part(self._missing[0])
        return self._complete()

    def _hash_on(self) -> None:
        """Some more of the SHA-256: a file of gigabytes does not hold up the artifacts of other runs."""
        end = min(self._size, self._hashed_bytes + HASH_STEP_BYTES)
        for piece in self._pieces(self._hashed_bytes, end):
            self._hash.update(piece)
        self._hashed_bytes = end
        if end == self._size:
            self._sha256 = self._hash.hexdigest()

    def _put_whole(self) -> Outcome:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self._size),
            "Ingest-Sha256": self._sha256,
        }
        url = f"{self._base}/artifacts/{quoted(self._path)}"
        self.sent_bytes += self._size
        return self._stored(self._send("PUT", url, lambda: self._pieces(0, self._size), headers))

    def _open(self) -> Outcome | None:
        document = {"path": self._path, "size_bytes": self._size, "sha256": self._sha256}
        response = self._send_json("POST", f"{self._base}/uploads", document)
        answer = json_object(response[2]) if response[0] in {200, 201} else {}
        upload, part_bytes, received = (answer.get(k) for k in ("upload_id", "part_bytes", "received"))
        if not isinstance(upload, str) or type(part_bytes) is not int or part_bytes <= 0:
            return refusal_of(response)
        self._upload, self._part_bytes = upload, part_bytes
        there = set(received) if isinstance(received, list) else set()
        self._missing = [n for n in range(-(-self._size // part_bytes)) if n not in there]
        return None

    def _put_part(self, number: int) -> Outcome | None:
        begin = number * self._part_bytes
        end = min(self._size, begin + self._part_bytes)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(end - begin)}
        url = f"{self._base}/uploads/{self._upload}/{number}"
        self.sent_bytes += end - begin
        response = self._send("PUT", url, lambda: self._pieces(begin, end), headers)
        if response[0] == 200 and self._missing:
            self._missing.pop(0)
            return None
        return self._lost_or(response)

    def _complete(self) -> Outcome:
        response = self._send_json("POST", f"{self._base}/uploads/{self._upload}/complete", {})
        return self._stored(response) if response[0] in {200, 422} else self._lost_or(response)

    def _lost_or(self, response: Response) -> Outcome:
        """An upload that the service no longer knows, swept or completed by somebody else, is opened anew."""
        if response[0] == 404 or json_object(response[2]).get("code") == "parts_missing":
            self._losses += 1
            if self._losses > 1:  # what it says it has is not what it can use: all of it anew
                self._abort()
            self._missing = None
            return Retry("upload_lost", "the service has forgotten parts of an upload, which are sent again")
        return refusal_of(response)

    def _abort(self) -> None:
        """Forget this upload on both sides, so that the next one sends everything."""
        self._missing = None
        self._send("DELETE", f"{self._base}/uploads/{self._upload}", None, {})

    def _stored(self, response: Response) -> Outcome:
        """The answer to what should have made the artifact."""
        document = json_object(response[2])
        if response[0] == 200:
            if document.get("sha256") == self._sha256:
                return Uploaded(self._size)
            return Retry("unexpected_answer", "the answer is not one of an ingest service")
        if document.get("code") in _DAMAGED:
            if self._upload:
                self._abort()
            self._mismatches += 1
            if self._mismatches < MAX_MISMATCHES:
                return Retry(str(document["code"]), "it arrived damaged and is sent again")
        return refusal_of(response)

    def _send_json(self, method: str, url: str, document: Mapping[str, Any]) -> Response:
        return self._send(method, url, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _pieces(self, begin: int, end: int) -> Iterator[bytes]:
        with self._content.open("rb") as opened:
            opened.seek(begin)
            while begin < end:
                piece = opened.read(min(PIECE_BYTES, end - begin))
                if not piece:
                    raise OSError(f"{self._content} is shorter than when it was taken in")
                begin += len(piece)
                yield piece
                self._breathe()


def remove(run_id: UUID, path: str, send: Send) -> Outcome:
    """Delete an artifact; done as well if there is none."""
    response = send("DELETE", f"/api/v1/runs/{run_id.hex}/artifacts/{quoted(path)}", None, {})
    return Uploaded(0) if response[0] in {200, 404} else refusal_of(response)


def refusal_of(response: Response) -> Refused | Retry:
    """What an answer that is no success means. Only the service itself refuses for good, and says so with a code."""
    status, headers, body = response
    document = json_object(body)
    code = document.get("code")
    message = str(document.get("detail") or document.get("title") or f"HTTP status {status}")[:500]
    if isinstance(code, str) and (status in _PERMANENT or code in _PERMANENT_CODES):
        return Refused(code, message)
    if status == 404 and code is not None:
        return Retry("run_unknown", f"{message}; the artifact waits until the service knows the run")
    hint = hint_for(status)
    return Retry(
        f"http_{status}", f"{message} ({hint})" if hint else message, retry_after(headers.get("retry-after"))
    )
