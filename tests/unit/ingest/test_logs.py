"""Log lines carry what they are about, as text and as JSON."""

from __future__ import annotations

import asyncio
import json
import logging

from ingest.logs import ConsoleFormatter, JsonFormatter, _ContextFilter, attach, bind, current_context


def record(message: str = "stored %d points", *arguments: object) -> logging.LogRecord:
    made = logging.LogRecord("ingest.write", logging.WARNING, __file__, 1, message, arguments or (3,), None)
    _ContextFilter().filter(made)
    return made


def test_the_context_is_in_both_forms() -> None:
    with bind(request="r1"), bind(run="abc", batch=7):
        made = record()

    assert (
        ConsoleFormatter()
        .format(made)
        .endswith("WARNING ingest.write  stored 3 points  request=r1  run=abc  batch=7")
    )
    entry = json.loads(JsonFormatter().format(made))
    assert entry["message"] == "stored 3 points"
    assert (entry["level"], entry["request"], entry["run"], entry["batch"]) == ("warning", "r1", "abc", 7)


def test_what_is_attached_ends_with_the_request() -> None:
    with bind(request="r1"):
        attach(run="abc")
        assert dict(current_context()) == {"request": "r1", "run": "abc"}

    assert dict(current_context()) == {}


async def test_tasks_do_not_see_each_others_context() -> None:
    async def handle(name: str) -> object:
        with bind(request=name):
            await asyncio.sleep(0)
            return current_context()["request"]

    assert list(await asyncio.gather(handle("a"), handle("b"))) == ["a", "b"]
    assert dict(current_context()) == {}


def test_a_client_can_not_forge_a_line_or_colour_the_terminal() -> None:
    line = ConsoleFormatter().format(record("key %s", "x\x1b[31m\r\nfake"))

    assert "\x1b" not in line
    assert "\r" not in line
