"""The upload against an in-memory service: whatever it answers, the artifact arrives whole or is still here."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_client import _artifacts_upload
from ingest_client._artifacts_upload import Upload, Uploaded, refusal_of
from ingest_client._protocol import Refused, Retry
from tests.integration.client import artifact_stub
from tests.integration.client.artifact_stub import ArtifactStore

RUN = uuid.UUID(int=7)


class Line:
    """Sends to the store, and breaks when told to."""

    def __init__(self, breaks=()):
        self.store, self.breaks, self.count = ArtifactStore(), dict(breaks), 0

    def __call__(self, method, path, body, headers):
        import json

        self.count += 1
        what = self.breaks.get(self.count)
        if what == "before":
            raise ConnectionResetError
        content = b"".join(body()) if callable(body) else body or b""
        assert headers.get("Content-Length", str(len(content))) == str(len(content))
        reply = self.store.handle(method, path, headers, content)
        if what == "after":
            raise ConnectionResetError
        assert not isinstance(reply, (bytes, str))
        return reply[0], {}, json.dumps(reply[1]).encode()


def upload(line, path, content):
    return Upload(RUN, "a/b", path, len(content), line)


@given(
    st.integers(0, 60),
    st.dictionaries(st.integers(1, 25), st.sampled_from(["before", "after"]), max_size=8),
    st.integers(1, 30),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_whatever_breaks_it_arrives_once(tmp_path, monkeypatch, size, breaks, restart_after):
    """Lines break at any request, and once the process is another one."""
    monkeypatch.setattr(_artifacts_upload, "PARTS_FROM_BYTES", 10)
    monkeypatch.setattr(_artifacts_upload, "HASH_STEP_BYTES", 7)
    monkeypatch.setattr(artifact_stub, "PART_BYTES", 4)
    content = bytes(range(size))
    path = tmp_path / "content"
    path.write_bytes(content)
    line = Line(breaks)
    under_way, outcome = upload(line, path, content), None
    for turn in range(200):
        if turn == restart_after:
            under_way = upload(line, path, content)
        try:
            outcome = under_way.advance()
        except ConnectionResetError:
            continue
        if outcome is not None and not isinstance(outcome, Retry):
            break
    assert outcome == Uploaded(size)
    assert line.store.of(RUN.hex) == {"a/b": content}


def test_only_parts_that_are_missing_are_sent_by_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setattr(_artifacts_upload, "PARTS_FROM_BYTES", 10)
    monkeypatch.setattr(artifact_stub, "PART_BYTES", 4)
    content = bytes(40)
    (tmp_path / "c").write_bytes(content)
    line = Line()
    first = upload(line, tmp_path / "c", content)
    for _ in range(7):  # hash, open, five parts
        assert first.advance() is None
    second = upload(line, tmp_path / "c", content)
    while (outcome := second.advance()) is None:
        pass
    assert outcome == Uploaded(40)
    assert second.sent_bytes == 20


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, b'{"code": "path_refused", "detail": "no"}', Refused),
        (413, b'{"code": "artifact_too_large"}', Refused),
        (413, b"<html>a proxy</html>", Retry),
        (409, b'{"code": "path_taken"}', Refused),
        (409, b'{"code": "run_deleted"}', Retry),
        (404, b'{"code": "not_found"}', Retry),
        (404, b"", Retry),
        (401, b'{"code": "unauthenticated"}', Retry),
        (500, b'{"code": "internal_error"}', Retry),
        (507, b"", Retry),
    ],
)
def test_only_the_service_itself_refuses_for_good(status, body, kind):
    assert isinstance(refusal_of((status, {}, body)), kind)


def test_a_file_that_shrank_is_an_error_of_this_side(tmp_path):
    (tmp_path / "c").write_bytes(b"12")
    with pytest.raises(OSError, match="shorter"):
        Upload(RUN, "a", tmp_path / "c", 3, Line()).advance()
