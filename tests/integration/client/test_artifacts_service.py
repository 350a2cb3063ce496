"""Artifacts against the real service, while it is killed, its connections are cut and the trainer dies: then a ledger.

The law of the ledger: every artifact for which the call returned is among the run's artifacts once, with the SHA-256 of what was
given, and nothing else is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import urllib.request
from pathlib import Path
from typing import Self

import pytest

import ingest
from ingest.bench.ports import free_port
from ingest.bench.proxy import Faults, ProxyThread
from ingest_client import sync_spool
from ingest_client._run import Run
from tests.conftest import ServiceProcess, StartService, run_ingest
from tests.integration.client.conftest import settings_for
from tests.integration.client.stub import wait_until

pytestmark = pytest.mark.timeout(400)

CUTS = Faults(weights={"pass": 5.0, "cut_before": 2.0, "cut_after": 2.0, "repeat": 1.0}, delay=(0.0, 0.1))


def stored(url: str, run_id: str) -> dict[str, str]:
    """Path and SHA-256 of each artifact of a run, read over HTTP."""
    found: dict[str, str] = {}
    todo = [""]
    while todo:
        directory = todo.pop()
        with urllib.request.urlopen(
            f"{url}/api/v1/runs/{run_id}/artifacts?limit=10000&path={directory}", timeout=30
        ) as answer:
            files = json.load(answer)["files"]
        for item in files:
            if item["is_dir"]:
                todo.append(item["path"])
            else:
                with urllib.request.urlopen(
                    f"{url}/api/v1/runs/{run_id}/artifacts/{item['path']}", timeout=60
                ) as answer:
                    found[item["path"]] = hashlib.file_digest(answer, "sha256").hexdigest()
    return found


def law(run: Run) -> None:
    s = run.stats()
    assert s.artifacts_accepted_num == (
        s.artifacts_uploaded_num
        + s.artifacts_spooled_num
        + s.artifacts_rejected_num
        + s.artifacts_dropped_num
    )


def log_files(run: Run, folder: Path, numbers: range) -> dict[str, str]:
    """Small and large files in turn, each deleted as soon as the call has returned."""
    claimed: dict[str, str] = {}
    for number in numbers:
        content = os.urandom(9_500_000 if number % 8 == 7 else 1000 + number)
        file = folder / f"f{number}"
        file.write_bytes(content)
        run.log_artifact(file, f"d{number % 3}")
        file.unlink()
        claimed[f"d{number % 3}/f{number}"] = hashlib.sha256(content).hexdigest()
    return claimed


def test_cut_connections_and_a_killed_service_lose_no_artifact(
    start_service: StartService, database_url: str, spool_dir: Path, tmp_path: Path
) -> None:
    port = free_port()
    service = start_service("--database-url", database_url, port=port)
    with ProxyThread(("127.0.0.1", port), faults=CUTS, seed=3) as proxy:
        run = Run(settings_for(proxy.url, spool_dir))
        claimed = log_files(run, tmp_path, range(24))
        wait_until(lambda: run.stats().artifacts_uploaded_num >= 4, timeout=60)
        service.kill()
        claimed |= log_files(run, tmp_path, range(24, 32))
        start_service("--database-url", database_url, port=port)
        claimed |= log_files(run, tmp_path, range(32, 40))
        assert run.flush(150)
        assert {"cut_before", "cut_after"} <= proxy.seen.keys()
        law(run)
        assert run.stats().artifacts_uploaded_num == 40
        assert run.stats().artifacts_retries_num > 0
        run.end()
        wait_until(lambda: run.is_delivered, timeout=60)
    assert stored(service.url, run.info.run_id) == claimed
    assert list(spool_dir.rglob("*")) == []


TRAINER = """
    import hashlib, ingest, os, pathlib, sys
    run = ingest.start_run()
    print(run.info.run_id, flush=True)
    for number in range(1000):
        content = os.urandom(20_000_000 if number % 5 == 4 else 10_000)
        pathlib.Path("{folder}/file").write_bytes(content)
        run.log_metric("number", number, number)
        run.log_artifact("{folder}/file", str(number))
        os.unlink("{folder}/file")
        print(number, hashlib.sha256(content).hexdigest(), flush=True)
"""


def test_a_killed_trainer_loses_no_artifact(
    script, service: ServiceProcess, spool_dir: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of an upload by parts; `ingest sync` goes on with it."""
    process = script(TRAINER.format(folder=tmp_path), service.url)
    run_id = process.stdout.readline().strip()
    lines = [process.stdout.readline() for _ in range(11)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()  # communicate() would miss what readline() has read ahead
    done = run_ingest("sync", str(spool_dir), "--json")
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert {report["status"] for report in reports} == {"delivered"}
    claimed = {f"{number}/file": sha256 for number, sha256 in (line.split() for line in lines)}
    there = stored(service.url, run_id)
    assert claimed.items() <= there.items()
    assert len(there) <= len(claimed) + 1  # the one whose call had no time to say so
    assert list(spool_dir.rglob("*")) == []


def test_offline_then_sync_then_read_back(
    service: ServiceProcess, spool_dir: Path, tmp_path: Path, monkeypatch
) -> None:
    run = Run(settings_for(service.url, spool_dir, INGEST_MODE="offline"))
    run.log_table({"x": [1, 2]}, "tables/t.json")
    run.log_table({"x": [3]}, "tables/t.json")
    run.log_text("ü", "notes/ünï code & more.txt")
    run.log_dict({"a": 1}, "gone.json")
    run.remove_artifact("gone.json")
    run.end()
    wait_until(lambda: run.sender is not None and run.sender.is_parked)
    assert {report.status for report in sync_spool(spool_dir)} == {"delivered"}
    monkeypatch.setenv("INGEST_TRACKING_URI", service.url)
    run_id = run.info.run_id
    assert ingest.load_table(f"runs:/{run_id}/tables/t.json")["x"].tolist() == [1, 2, 3]
    assert ingest.load_text(f"runs:/{run_id}/notes/ünï code & more.txt") == "ü"
    assert [(f.path, f.is_dir) for f in ingest.list_artifacts(run_id=run_id)] == [
        ("notes", True),
        ("tables", True),
    ]
    local = Path(ingest.download_artifacts(run_id=run_id, dst_path=tmp_path / "all"))
    assert sorted(p.relative_to(local).as_posix() for p in local.rglob("*") if p.is_file()) == [
        "notes/ünï code & more.txt",
        "tables/t.json",
    ]
    with pytest.raises(ingest.ArtifactNotFound):
        ingest.download_artifacts(f"runs:/{run_id}/tables/none")


def test_what_the_service_refuses_is_counted_and_does_not_hold_up_the_rest(
    service: ServiceProcess, spool_dir: Path
) -> None:
    run = Run(settings_for(service.url, spool_dir))
    run.log_text("a file", "a")
    run.log_text("below a file", "a/b")
    run.log_text("next", "c")
    assert run.flush(30) is False
    wait_until(lambda: run.stats().artifacts_spooled_num == 0)
    assert run.stats().artifacts_rejected == {"path_taken": 1}
    law(run)
    assert set(stored(service.url, run.info.run_id)) == {"a", "c"}
    run.end()


def test_artifacts_of_a_run_that_is_gone_do_not_wait_for_ever(
    service: ServiceProcess, database_url: str, scratch: Path, spool_dir: Path
) -> None:
    run = Run(settings_for(service.url, spool_dir))
    run.log_text("a", "a.txt")
    assert run.flush(30)
    request = urllib.request.Request(
        f"{service.url}/api/v1/runs/{run.info.run_id}",
        data=b'{"lifecycle": "deleted"}',
        headers={"Content-Type": "application/json"},
        method="PATCH",
    )
    with urllib.request.urlopen(request, timeout=20):
        pass
    run.log_text("b", "b.txt")
    wait_until(lambda: run.stats().artifacts_retries_num)
    assert run.stats().artifacts_spooled_num == 1, "it may be restored"
    done = run_ingest("gc", "--database-url", database_url, "--data-dir", str(scratch / "data"))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: run.stats().artifacts_rejected == {"run_gone": 1}, timeout=40)
    law(run)
    run.end()


def test_a_download_goes_on_where_the_line_broke(
    service: ServiceProcess, spool_dir: Path, tmp_path: Path, monkeypatch
) -> None:
    content = os.urandom(30_000_000)
    (tmp_path / "large").write_bytes(content)
    run = Run(settings_for(service.url, spool_dir))
    run.log_artifact(tmp_path / "large")
    assert run.flush(60)
    run.end()
    port = int(service.url.rpartition(":")[2])
    with _CuttingProxy(port, after_bytes=11_000_000) as proxy:
        path = ingest.download_artifacts(
            run_id=run.info.run_id, artifact_path="large", dst_path=tmp_path / "out", tracking_uri=proxy.url
        )
    assert Path(path).read_bytes() == content
    assert proxy.connections_num == 3
    assert proxy.passed_bytes < 1.2 * len(content)  # nothing was sent twice


class _CuttingProxy:
    """Cuts each connection after so many bytes of the answer."""

    def __init__(self, port: int, after_bytes: int) -> None:
        import socket

        self._target, self._after = port, after_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections_num = self.passed_bytes = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        import socket

        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with (
                contextlib.suppress(OSError),  # the reader has given it up
                client,
                socket.create_connection(("127.0.0.1", self._target)) as upstream,
            ):
                self.connections_num += 1
                upstream.sendall(client.recv(65536))
                left = self._after
                while left > 0 and (piece := upstream.recv(min(left, 65536))):
                    client.sendall(piece)
                    left -= len(piece)
                    self.passed_bytes += len(piece)
