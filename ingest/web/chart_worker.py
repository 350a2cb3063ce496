"""The process that draws charts: the handlers of `ingest.web.series` on a Unix socket. See `ingest.chart_process`, which starts it.

It takes its settings from standard input, says `ready` on standard output, and ends when standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

import uvloop
from aiohttp import web

from ingest.logs import bind, configure
from ingest.settings import Settings
from ingest.store.charts import Charts
from ingest.web import series
from ingest.web.problems import REQUEST_ID, answer_logged, problem_of
from ingest.web.routes import Handler, RouteTable

NICENESS: Final = 10
"""A tenth of the serving process's share, where both want the processor. PostgreSQL's backends stay as they are: one that waits for
the processor while it holds a lock makes writers wait, too."""


def create_chart_app(charts: Charts, settings: Settings) -> web.Application:
    """The application: routes of series behind the edge of the serving process, so without one of its own."""
    app = web.Application(middlewares=[_answer_errors], client_max_size=settings.max_body_bytes)
    app[series.CHARTS] = charts
    RouteTable(series.ROUTES).register(app)
    return app


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    request_id = request.headers.get(REQUEST_ID, "")
    with bind(request=request_id):
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001  # whatever it is becomes an answer, and a log line if it is ours
            return answer_logged(request, problem_of(error), error, request_id)


async def _draw() -> int:
    message = json.loads(await asyncio.to_thread(sys.stdin.buffer.readline))
    settings = Settings.model_validate(message["settings"])
    configure(settings)
    _stand_behind()
    is_over = _over()
    async with Charts.open(
        message["database_url"], connections=settings.chart_pool_size, timeout=settings.read_timeout
    ) as charts:
        runner = web.AppRunner(create_chart_app(charts, settings), access_log=None, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.UnixSite(runner, message["socket"]).start()
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await is_over.wait()
        finally:
            await runner.cleanup()
            shutil.rmtree(Path(message["socket"]).parent, ignore_errors=True)  # a killed parent left it
    return 0


def _stand_behind() -> None:
    """Take the processor after the others. A session has a share of its own under Linux, whatever is nice inside, hence the second line."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")


def _over() -> asyncio.Event:
    """Set when the parent is gone."""
    loop, is_over = asyncio.get_running_loop(), asyncio.Event()

    def on_parent_gone() -> None:
        loop.remove_reader(sys.stdin.fileno())
        is_over.set()

    loop.add_reader(sys.stdin.fileno(), on_parent_gone)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, signal.SIG_IGN
        )  # meant for all processes of the service: the parent drains first
    return is_over


if __name__ == "__main__":
    sys.exit(uvloop.run(_draw()))
