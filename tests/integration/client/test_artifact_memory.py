"""The memory that artifacts take: bounded, however many wait and however large they are. The kernel's own count, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

import pytest

from tests.integration.client.artifact_stub import ArtifactStore

BOUND_BYTES = 16 * 1024 * 1024
"""docs/client.md, "How they travel"."""

LARGE_BYTES = 128 * 1024 * 1024
FILES, TEXTS = 24, 500

SCRIPT = f"""
    import json, os, sys
    import ingest

    def memory(name):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

    def tell(**facts):
        print(json.dumps(facts), flush=True)
        sys.stdin.readline()

    os.chdir(sys.path[0])
    run = ingest.start_run()
    with open("file.bin", "wb") as file:
        file.write(os.urandom(9 * 1024 * 1024))
    run.log_artifact("file.bin", "first")
    run.log_text("x", "first.txt")
    assert run.flush(30)  # what is imported and made once is there
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins here
    before = memory("VmRSS")
    tell()

    with open("large.bin", "wb") as file:
        file.truncate({LARGE_BYTES})
    run.log_artifact("large.bin", keep="link")
    for number in range({FILES}):
        run.log_artifact("file.bin", f"many/{{number}}", keep="copy" if number % 8 == 0 else "link")
    for number in range({TEXTS}):
        run.log_text("x" * 1000, f"texts/{{number}}.txt")
    stats = run.stats()
    tell(waiting=stats.artifacts_spooled_num, spool_bytes=stats.artifacts_spool_bytes, grown=memory("VmHWM") - before)
    assert run.flush(50), run.stats()
    tell(uploaded=run.stats().artifacts_uploaded_num, grown=memory("VmHWM") - before)
"""


class Slow:
    """Holds every request until `may_go`; takes parts without keeping them, so that this process stays small as well."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, method: str, url: str, body: bytes) -> Any:
        self.may_go.wait(50)
        upload_id, _, step = url.partition("/uploads/")[2].partition("/")
        if not step:
            return None
        if step != "complete":
            return 200, {"part": int(step)}, {}
        upload = self.store.uploads.pop(upload_id)
        return 200, {name: upload[name] for name in ("path", "size_bytes", "sha256")}, {}


def facts_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """What it tells next."""
    line = process.stdout.readline()  # type: ignore[union-attr]  # the fixture makes pipes
    assert line, process.communicate(timeout=10)[1]
    return dict(json.loads(line))


def go_on(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")  # type: ignore[union-attr]  # as above
    process.stdin.flush()  # type: ignore[union-attr]


@pytest.mark.timeout(240)
def test_a_backlog_of_files_takes_no_memory(script, stub):
    slow = stub.artifacts.misbehave = Slow(stub.artifacts)
    process = script(SCRIPT, stub.url)
    facts_of(process)
    slow.may_go.clear()
    go_on(process)
    waiting = facts_of(process)
    slow.may_go.set()
    go_on(process)
    done = facts_of(process)
    go_on(process)
    assert process.wait(30) == 0
    assert waiting["waiting"] == FILES + TEXTS + 1
    assert waiting["spool_bytes"] > 20 * BOUND_BYTES
    assert done["uploaded"] == FILES + TEXTS + 3
    assert (waiting["grown"] < BOUND_BYTES, done["grown"] < BOUND_BYTES) == (True, True), (waiting, done)
