"""What the integrations log, read back from the database of a real service; each library is the real one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

import ingest
from ingest_client.integrations import _guard
from tests.conftest import ServiceProcess
from tests.integration.integrations.reading import Logged, read_runs

os.environ.setdefault("KERAS_BACKEND", "torch")


@pytest.fixture
def logged(service: ServiceProcess, tmp_path, monkeypatch) -> Iterator[Callable[[], list[Logged]]]:
    """A function that delivers everything and gives the runs that are stored then, oldest first."""
    monkeypatch.setenv("INGEST_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("INGEST_TRACKING_URI", service.url)
    monkeypatch.chdir(tmp_path)
    ingest.set_tracking_uri("")

    def read() -> list[Logged]:
        assert ingest.flush(timeout=30.0)
        return read_runs(service.url)

    yield read
    while ingest.active_run() is not None:
        ingest.end_run("KILLED")
    ingest.autolog(disable=True)
    _guard.mend_hooks()
    assert ingest.flush(timeout=30.0)  # nothing of this test may wait for a service that is gone
