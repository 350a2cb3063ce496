"""Fixtures of the client's tests: a stub of the service and a run that logs to it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.bench.ports import free_port
from ingest_client import _fluent, _lifetime
from ingest_client._run import Run
from ingest_client._settings import Settings
from tests.integration.client.stub import Stub, running_stub


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as running:
        yield running


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def settings(stub: Stub, spool_dir: Path) -> Settings:
    return settings_for(stub.url, spool_dir)


@pytest.fixture
def dead_settings(spool_dir: Path) -> Settings:
    """Nobody listens there."""
    return settings_for(f"http://127.0.0.1:{free_port()}", spool_dir)


def settings_for(url: str, spool_dir: Path, **variables: str) -> Settings:
    env = {
        "INGEST_TRACKING_URI": url,
        "INGEST_SPOOL_DIR": str(spool_dir),
        "INGEST_MAX_AGE": "0.1",
        "INGEST_SYSTEM_METRICS": "off",
        "INGEST_ENVIRONMENT": "off",
        **variables,
    }
    return Settings.read(env)


def is_parked(run: Run) -> bool:
    """Whether an offline run has ended and left its spool for `ingest sync`."""
    return run.sender is not None and run.sender.is_parked


@pytest.fixture
def run(settings: Settings) -> Iterator[Run]:
    run = Run(settings, experiment="tests")
    yield run
    run.end()


@pytest.fixture(autouse=True)
def clean_client(monkeypatch: pytest.MonkeyPatch, spool_dir: Path) -> Iterator[None]:
    """No run and no setting of one test reaches the next; nothing is written outside tmp_path."""
    monkeypatch.setenv("INGEST_SPOOL_DIR", str(spool_dir))
    monkeypatch.setenv("INGEST_SHUTDOWN_TIMEOUT", "1")
    monkeypatch.setattr(_fluent, "_tracking_uri", None)
    monkeypatch.setattr(_fluent, "_experiment", None)
    yield
    for leftover in _lifetime.live_runs():
        leftover.end()
    _lifetime._runs.clear()
    _fluent._started.clear()
    _fluent._stack.set(())


Script = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def script(tmp_path: Path, spool_dir: Path) -> Iterator[Script]:
    """Start a training script as a process of its own: `script(source, url, **environment)`."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, url: str, **environment: str) -> subprocess.Popen[str]:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(textwrap.dedent(source))
        env = {
            **os.environ,
            "INGEST_TRACKING_URI": url,
            "INGEST_SPOOL_DIR": str(spool_dir),
            "INGEST_SHUTDOWN_TIMEOUT": "30",  # to a service that answers: a busy one may take its time
            **environment,
        }
        process = subprocess.Popen(
            [sys.executable, str(path)], env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=90)
