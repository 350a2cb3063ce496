"""Fixtures that every tier shares: real PostgreSQL servers, a fresh database for a test, a running service.

    bundled_postgres   (session) the PostgreSQL 18 that comes with the service, in a scratch data directory
    postgres15         (session) Debian's PostgreSQL as a user would bring it, by TCP and password; skips if absent
    database_url       a new, migrated, empty database on the bundled server; dropped afterwards
    empty_database_url the same without our schema
    server_url         (session) like bundled_postgres, but parametrised over both servers
    start_service      a function that starts `ingest serve` as a process and waits until it takes requests
    service            one such process on a fresh database
    migrated_database, serving   (no fixtures) a database, a service on it; for fixtures that outlive a test
    services, web_client   the same application inside the test's own event loop: fast, no process
    wait_for           wait for a condition instead of a time

The servers run without fsync: tests kill processes, not machines. Every fixture ends what it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from ingest.bench.ports import free_port

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from ingest.services import Services

T = TypeVar("T")

# A developer's own settings must not reach the tests, nor those of one test another.
for _name in [name for name in os.environ if name.startswith(("INGEST_", "MLFLOW_", "PG"))]:
    del os.environ[_name]
# Tests count the points, writers and artifacts of a run: those that the client adds by itself are for the tests of just that.
os.environ |= {"INGEST_SYSTEM_METRICS": "off", "INGEST_ENVIRONMENT": "off"}

FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "shared_buffers": "64MB"}
"""PostgreSQL options of the test servers; the service's own choice of synchronous_commit stays testable."""


# ------------------------------------------------------------------------------------------------------------ helpers


def run_apart(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread with a loop of its own, so that it may be called from anywhere."""
    outcome: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(make()))
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


async def wait_until(
    condition: Callable[[], object | Awaitable[object]], timeout: float = 30.0, interval: float = 0.02
) -> Any:
    """Wait until the condition, a function or coroutine function, returns something true, and return that.

    Raises:
        AssertionError: Not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        outcome = condition()
        if isinstance(outcome, Awaitable):
            outcome = await outcome
        if outcome:
            return outcome
        assert time.monotonic() < deadline, f"still not true after {timeout} s: {condition}"
        await asyncio.sleep(interval)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several test processes the slow files come first, so that none is left to one process at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def wait_for() -> Callable[..., Awaitable[Any]]:
    return wait_until


def with_database(url: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path="/" + database))


@pytest.fixture(autouse=True)
def _fresh_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test or a library sets through `import ingest`, address and experiment, ends with that test."""
    if (fluent := sys.modules.get("ingest_client._fluent")) is not None:
        monkeypatch.setattr(fluent, "_tracking_uri", None)
        monkeypatch.setattr(fluent, "_experiment", None)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that another user may reach too: pytest's tmp_path lies below one that only we may enter."""
    path = Path(tempfile.mkdtemp(prefix="ingest-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


# ------------------------------------------------------------------------------------------------- PostgreSQL servers


class _ServerThread(threading.Thread):
    """Runs one BundledPostgres in a loop of its own, so that it outlives the loops of the tests."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(name="test-postgres", daemon=True)
        self._data_dir = data_dir
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self.ready = threading.Event()
        self.url = ""
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001  # shown by the fixture
            self.error = error
        finally:
            self.ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        from ingest.postgres import BundledPostgres

        async with BundledPostgres(self._data_dir, connections=200, options=FAST, durable=False) as server:
            self.url = server.url
            self.ready.set()
            await self._end.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self.join(120)


@pytest.fixture(scope="session")
def bundled_postgres() -> Iterator[str]:
    """URL of the bundled PostgreSQL's database `ingest`, as its superuser. Use `database_url` for a database."""
    data_dir = Path(tempfile.mkdtemp(prefix="ingest-test-pg-"))
    server = _ServerThread(data_dir)
    server.start()
    assert server.ready.wait(150), "the bundled PostgreSQL did not start"
    if server.error is not None:
        raise server.error
    yield server.url
    server.stop()
    shutil.rmtree(data_dir, ignore_errors=True)


def debian_postgres() -> Path | None:
    """The programs of the newest PostgreSQL that Debian installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


def _as_postgres() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture(scope="session")
def postgres15() -> Iterator[str]:
    """A user's own server: URL of the database `postgres`, by TCP, as a user that may make databases and roles."""
    programs = debian_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL of Debian's in /usr/lib/postgresql")
    home = Path(tempfile.mkdtemp(prefix="ingest-test-pg15-"))
    run: dict[str, Any] = {"cwd": home, "stdin": subprocess.DEVNULL, **_as_postgres()}
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    password_file = home / "password"
    password_file.write_text("s3cret@/:\n")
    password_file.chmod(0o644)
    subprocess.run(
        [programs / "initdb", "-D", home / "data", "-U", "admin", "-A", "scram-sha-256", "--pwfile", password_file,
         "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"],
        check=True, capture_output=True, timeout=150, **run,
    )  # fmt: skip
    port = free_port()
    options = [f"-c{name}={value}" for name, value in FAST.items()]
    log = (home / "log").open("wb")
    server = subprocess.Popen(
        [programs / "postgres", "-D", home / "data", "-p", str(port), "-h", "127.0.0.1", "-k", str(home), *options],
        stdout=log, stderr=log, start_new_session=True, **run,
    )  # fmt: skip
    url = f"postgresql://admin:s3cret%40%2F%3A@127.0.0.1:{port}/postgres"
    try:
        from ingest.store.connect import wait_until_usable

        run_apart(lambda: wait_until_usable(url, timeout=120))
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session", params=["bundled", "debian"])
def server_url(request: pytest.FixtureRequest) -> str:
    """Both kinds of server, one after the other."""
    url: str = request.getfixturevalue("bundled_postgres" if request.param == "bundled" else "postgres15")
    return url


# ---------------------------------------------------------------------------------------------------------- databases


@contextlib.contextmanager
def new_database(server: str, *, template: str = "template0") -> Iterator[str]:
    """A database of its own on the server, dropped at the end together with its reader role."""
    from ingest.store.connect import connect
    from ingest.store.reader import default_role_name

    name = f"t_{uuid.uuid4().hex[:16]}"

    async def execute(*statements: str) -> None:
        async with connect(server, purpose="test") as connection:
            for statement in statements:
                await connection.execute(statement)

    run_apart(lambda: execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'"))
    try:
        yield with_database(server, name)
    finally:
        role = default_role_name(name)
        run_apart(lambda: execute(f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE IF EXISTS {role}"))


@pytest.fixture
def empty_database_url(bundled_postgres: str) -> Iterator[str]:
    with new_database(bundled_postgres) as url:
        yield url


@pytest.fixture(scope="session")
def _template(bundled_postgres: str) -> Iterator[str]:
    """A migrated database to copy: a copy takes a fraction of the migrations' time."""
    from ingest.migrations import migrate

    with new_database(bundled_postgres) as url:
        run_apart(lambda: migrate(url))
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def database_url(bundled_postgres: str, _template: str) -> Iterator[str]:
    """A migrated, empty database with its own reader role."""
    from ingest.migrations import migrate

    with new_database(bundled_postgres, template=_template) as url:
        run_apart(lambda: migrate(url))  # nothing pending: makes the reader role of this database
        yield url


# ------------------------------------------------------------------------------------------------------------ service


@dataclass
class ServiceProcess:
    """A running `ingest serve`."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    arguments: tuple[str, ...] = field(default=())

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, as the OOM killer does it."""
        self.process.kill()
        self.process.wait(60)

    def stop(self, timeout: float = 100.0) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout)


StartService = Callable[..., ServiceProcess]


def ingest_command(*arguments: str) -> list[str]:
    """The command line `ingest …` with this interpreter."""
    return [sys.executable, "-c", "from ingest.cli import main; main()", *arguments]


def run_ingest(*arguments: str, timeout: float = 120.0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `ingest …` to its end, with `variables` added to the environment."""
    return subprocess.run(
        ingest_command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        check=False,
    )


@contextlib.contextmanager
def migrated_database(server: str, template: str) -> Iterator[str]:
    """URL of a new database with our schema; for fixtures that outlive a test."""
    from ingest.migrations import migrate

    with new_database(server, template=template) as database:
        run_apart(lambda: migrate(database))
        yield database


@contextlib.contextmanager
def serving(database: str, home: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """Address of `ingest serve` on this database, with its data in this directory."""
    ready = home / "ready"
    command = ingest_command("serve", "--port", "0", "--ready-file", str(ready), *arguments)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(home / "data"), "--database-url", database],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "INGEST_SPOOL_INTAKE": "false", **(env or {})},
        )
        try:
            run_apart(lambda: wait_until(lambda: ready.exists() or process.poll() is not None, timeout=120))
            assert ready.exists(), (home / "log").read_text()
            yield ready.read_text().strip()
        finally:
            process.terminate()
            process.wait(100)


@pytest.fixture
def start_service(scratch: Path) -> Iterator[StartService]:
    """A function `start_service(*arguments, port=0, wait=True, env={}) -> ServiceProcess`.

    Without `--data-dir` or `--database-url` among the arguments the service gets a data directory of its own. Every
    process is stopped at the end of the test.
    """
    started: list[ServiceProcess] = []

    def start(
        *arguments: str,
        port: int = 0,
        wait: bool = True,
        env: dict[str, str] | None = None,
        timeout: float = 120.0,
    ) -> ServiceProcess:
        number = len(started)
        ready, log = scratch / f"ready-{number}", scratch / f"service-{number}.log"
        if "--data-dir" not in arguments:
            arguments += ("--data-dir", str(scratch / "data"))
        command = ingest_command("serve", "--port", str(port), "--ready-file", str(ready), *arguments)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # The developer's own spool is none of the tests' business.
                env={**os.environ, "INGEST_SPOOL_INTAKE": "false", **(env or {})},
            )
        service = ServiceProcess(process, "", log, arguments)
        started.append(service)
        deadline = time.monotonic() + timeout
        while wait and not ready.exists():
            assert process.poll() is None, (
                f"ingest serve ended with {process.returncode}:\n{service.output()}"
            )
            assert time.monotonic() < deadline, f"ingest serve is not ready:\n{service.output()}"
            time.sleep(0.02)
        if wait:
            service.url = ready.read_text().strip()
        return service

    yield start
    for service in reversed(started):
        if service.process.poll() is None:
            service.process.terminate()
            try:
                service.process.wait(100)
            except subprocess.TimeoutExpired:
                service.kill()


@pytest.fixture
def service(start_service: StartService, database_url: str) -> ServiceProcess:
    """A service process on a fresh database."""
    return start_service("--database-url", database_url)


@pytest.fixture
async def services(database_url: str, scratch: Path) -> AsyncIterator[Services]:
    """Everything the handlers use, opened in the test's loop on a fresh database."""
    from ingest.services import open_services
    from ingest.settings import Settings

    settings = Settings(database_url=database_url, data_dir=scratch / "data", port=0)
    async with open_services(settings, database_url) as opened:
        yield opened


@pytest.fixture
async def web_client(services: Services) -> AsyncIterator[TestClient[Any, Any]]:
    """An HTTP client of the application, in the test's loop."""
    from aiohttp.test_utils import TestClient, TestServer

    from ingest.web.app import create_app

    async with TestClient(TestServer(create_app(services))) as client:
        yield client
