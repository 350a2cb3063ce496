"""Spools that wait for this very service: `ingest serve` delivers to itself what its user's runs left on this machine.

A script without any set-up logs into the user's spool for 127.0.0.1:5000. Whoever starts `ingest serve` afterwards sees its
runs without a further command.

The service looks at the user's spool folder (INGEST_SPOOL_DIR) once it takes requests, and then now and again. A look
is a walk over directories. If there is something for its address that no live process owns, it runs `ingest sync` as a child
process, which posts batches like any client: one way in, one set of rules, and no work in the process that serves. Spools
of other users and for other addresses are left alone.

Where tokens are needed the child gets one of its own, by its environment, that is deleted afterwards and expires by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson

from ingest.auth import hash_token, new_token
from ingest.settings import Settings
from ingest.store.errors import StoreError
from ingest.store.housekeeping import Housekeeping
from ingest_schema.ids import new_id

__all__ = ["SpoolIntake", "addresses_of"]

logger = logging.getLogger(__name__)

SYNC_TIMEOUT: Final = 3600.0
"""Seconds for one child; what it has not delivered by then waits for the next look."""
STOP_TIMEOUT: Final = 5.0
TOKEN_NAME: Final = "spool intake"  # noqa: S105  # a name


def addresses_of(host: str, port: int) -> tuple[str, ...]:
    """The addresses under which clients on this machine know a service that listens there."""
    machine = socket.gethostname()
    names = ["127.0.0.1", "localhost", "[::1]"]
    names += (
        [] if host in {"127.0.0.1", "localhost", "::1"} else [machine, f"[{host}]" if ":" in host else host]
    )
    return tuple(dict.fromkeys(f"http://{name}:{port}" for name in names))


class SpoolIntake:
    """Looks, and delivers what it finds.

    Args:
        settings: The service's.
        database_url: For the child's token.
        url: Where the service listens, for this machine.
    """

    def __init__(self, settings: Settings, database_url: str, url: str) -> None:
        self._settings = settings
        self._database_url = database_url
        self._url = url
        self._addresses = addresses_of(settings.host, int(url.rpartition(":")[2]))

    async def run(self) -> None:
        """Look now and then, until cancelled. Whatever goes wrong: the spools stay where they are."""
        while True:
            try:
                if await asyncio.to_thread(self._has_work):
                    await self._deliver()
            except (OSError, ValueError, StoreError) as error:
                logger.warning("the spool of this user was not looked at: %s", error)
            except Exception:
                logger.exception("taking in spools failed; trying again")
            await asyncio.sleep(self._settings.spool_intake_interval * random.uniform(0.9, 1.1))

    def _has_work(self) -> bool:
        import ingest as face

        return next(face.waiting_spools(None, only_for=self._addresses), None) is not None

    async def _deliver(self) -> None:
        async with self._token() as token:
            reports = await self._sync(token)
        done = [report for report in reports if report["status"] == "delivered"]
        if done:
            runs = {report["run_id"] for report in done}
            logger.info(
                "took in %d points and %d artifacts of %d runs from the spool of this user",
                sum(report["acknowledged_points"] for report in done),
                sum(report["uploaded_artifacts"] for report in done),
                len(runs),
            )
        for report in reports:
            if report["status"] in {"waiting", "damaged"}:
                logger.warning("spool %s is %s: %s", report["directory"], report["status"], report["error"])

    async def _sync(self, token: str | None) -> list[dict[str, Any]]:
        environment = {name: value for name, value in os.environ.items() if name != "INGEST_TOKEN"}
        if token is not None:
            environment["INGEST_TOKEN"] = token
        only = [part for address in self._addresses for part in ("--only-for", address)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ingest", "sync", "--url", self._url, *only, "--json",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(SYNC_TIMEOUT):
                output, _ = await process.communicate()
        except TimeoutError:
            logger.warning("delivering the spool took over %.0f seconds; going on later", SYNC_TIMEOUT)
            return []
        finally:
            await _end(process)
        reports: list[dict[str, Any]] = orjson.loads(output) if output else []
        return reports

    @asynccontextmanager
    async def _token(self) -> AsyncIterator[str | None]:
        if not self._settings.needs_token:
            yield None
            return
        token, token_id = new_token(), new_id()
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=SYNC_TIMEOUT + 60)
        async with Housekeeping.open(self._database_url) as housekeeping:
            await housekeeping.create_token(token_id, TOKEN_NAME, "write", hash_token(token), expires_at)
            try:
                yield token
            finally:
                with contextlib.suppress(StoreError):  # it expires by itself
                    await asyncio.shield(housekeeping.delete_token(token_id))


async def _end(process: asyncio.subprocess.Process) -> None:
    """A child that is still there when the service stops loses nothing by being stopped."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
