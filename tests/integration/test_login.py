"""The login of browsers: a cookie that stands for a token, is of no use to other sites, and ends with its token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http.cookies import Morsel
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from ingest import auth
from ingest.auth import hash_token, new_token
from ingest.services import open_services
from ingest.settings import Settings
from ingest.web import stream
from ingest.web.app import create_app
from ingest.web.routes import SERVICES
from ingest.web.sessions import COOKIE
from ingest_schema.ids import new_id

Client = TestClient[Any, Any]


@pytest.fixture
async def browser(database_url: str, scratch: Path) -> AsyncIterator[Client]:
    """A client that keeps cookies, on a service where tokens are needed."""
    import aiohttp

    settings = Settings(database_url=database_url, data_dir=scratch, require_token=True)
    async with (
        open_services(settings, database_url) as services,
        TestClient(TestServer(create_app(services)), cookie_jar=aiohttp.CookieJar(unsafe=True)) as client,
    ):
        yield client


def own_origin(client: Client) -> dict[str, str]:
    return {"Origin": str(client.make_url("")).rstrip("/")}


async def make_token(client: Client, role: str) -> str:
    token = new_token()
    assert isinstance(client.server, TestServer)
    services = client.server.app[SERVICES]
    await services.housekeeping.create_token(new_id(), role, role, hash_token(token), None)
    return token


async def log_in(client: Client, role: str, **headers: str) -> Morsel[str]:
    body = {"token": await make_token(client, role)}
    response = await client.post("/api/v1/login", json=body, headers={**own_origin(client), **headers})
    assert response.status == 200, await response.text()
    assert await response.json() == {"needs_token": True, "role": role, "name": role}
    return response.cookies[COOKIE]


async def test_a_session_stands_for_its_token(browser: Client) -> None:
    assert (await browser.get("/api/v1/runs")).status == 401

    cookie = await log_in(browser, "admin")

    assert (await browser.get("/api/v1/runs")).status == 200
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Strict", "")
    session = await (await browser.get("/api/v1/session")).json()
    assert session == {"needs_token": True, "role": "admin", "name": "admin"}


async def test_the_cookie_is_secure_where_the_page_came_by_https(browser: Client) -> None:
    host = str(browser.make_url("").authority)
    cookie = await log_in(browser, "read", Origin=f"https://{host}")
    assert cookie["secure"] is True


async def test_the_database_has_no_session_that_anybody_could_use(browser: Client) -> None:
    cookie = await log_in(browser, "read")
    assert isinstance(browser.server, TestServer)
    database = browser.server.app[SERVICES].database
    (row,) = await database.fetch("SELECT hash FROM ingest.sessions")
    assert row["hash"] == hash_token(cookie.value)


async def test_a_wrong_token_logs_nobody_in(browser: Client) -> None:
    for body, status in (({"token": new_token()}, 401), ({"token": "x"}, 401), ({}, 400), ([], 400)):
        response = await browser.post("/api/v1/login", json=body)
        assert (response.status, COOKIE in response.cookies) == (status, False)
    assert (await (await browser.get("/api/v1/session")).json())["role"] is None


async def test_what_relies_on_the_cookie_and_may_change_something_needs_our_origin(browser: Client) -> None:
    """Were SameSite to fail, another site's form would still be refused."""
    await log_in(browser, "admin")
    body = {"name": "made by hand"}

    for headers, status, code in (
        ({}, 403, "origin_missing"),
        ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"Origin": "null"}, 403, "origin_not_allowed"),
    ):
        response = await browser.post("/api/v1/experiments", json=body, headers=headers)
        assert (response.status, (await response.json())["code"]) == (status, code)

    response = await browser.post("/api/v1/experiments", json=body, headers=own_origin(browser))
    assert response.status == 200


async def test_a_token_needs_no_origin_even_beside_a_cookie(browser: Client) -> None:
    await log_in(browser, "read")
    bearer = {"Authorization": f"Bearer {await make_token(browser, 'write')}"}
    response = await browser.post("/api/v1/experiments", json={"name": "by a script"}, headers=bearer)
    assert response.status == 200


async def test_a_session_may_do_what_its_token_may(browser: Client) -> None:
    await log_in(browser, "read")
    response = await browser.post("/api/v1/experiments", json={"name": "x"}, headers=own_origin(browser))
    assert (response.status, (await response.json())["code"]) == (403, "forbidden")


async def test_revoking_the_token_ends_its_sessions_at_once(browser: Client) -> None:
    await log_in(browser, "read")
    assert (await browser.get("/api/v1/runs")).status == 200

    assert isinstance(browser.server, TestServer)
    await browser.server.app[SERVICES].housekeeping.revoke_tokens("read")

    assert (await browser.get("/api/v1/runs")).status == 401


async def test_a_session_ends_by_logging_out_even_for_who_kept_the_cookie(browser: Client) -> None:
    cookie = await log_in(browser, "read")

    response = await browser.post("/api/v1/logout", headers=own_origin(browser))
    assert response.status == 204
    assert (await browser.get("/api/v1/runs")).status == 401

    kept = {"Cookie": f"{COOKIE}={cookie.value}"}
    assert (await browser.get("/api/v1/runs", headers=kept)).status == 401


async def test_a_session_ends_with_its_time(browser: Client) -> None:
    await log_in(browser, "read")
    assert isinstance(browser.server, TestServer)

    async def work(connection: Any) -> None:
        await connection.execute("UPDATE ingest.sessions SET expires_at = now() - interval '1 s'")

    await browser.server.app[SERVICES].database.edit(work)
    assert (await browser.get("/api/v1/runs")).status == 401


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are remembered for a tenth of a second, and streams looked at as often."""
    monkeypatch.setattr(auth, "CACHE_SECONDS", 0.1)
    monkeypatch.setattr(stream, "RECHECK", 0.1)


async def open_stream(client: Client, headers: dict[str, str]) -> ClientResponse:
    """A stream that has begun, and goes on."""
    response = await client.get("/api/v1/stream", params={"run": new_id().hex}, headers=headers)
    assert response.status == 200
    assert await response.content.readline() == b"retry: 2000\n"
    return response


async def ends(response: ClientResponse) -> bool:
    """Whether nothing comes any more."""
    async with asyncio.timeout(60):
        return (await response.content.read()).strip() == b""


@pytest.mark.usefixtures("_impatient")
async def test_a_stream_ends_with_its_session(browser: Client) -> None:
    cookie = await log_in(browser, "read")
    kept = {"Cookie": f"{COOKIE}={cookie.value}"}
    response = await open_stream(browser, kept)
    await browser.post("/api/v1/logout", headers=own_origin(browser))
    assert await ends(response)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
async def test_a_stream_ends_with_its_token(browser: Client, column: str) -> None:
    headers = {"Authorization": f"Bearer {await make_token(browser, 'read')}"}
    response = await open_stream(browser, headers)
    other = await open_stream(browser, {"Authorization": f"Bearer {await make_token(browser, 'admin')}"})

    async def work(connection: Any) -> None:
        await connection.execute(f"UPDATE ingest.tokens SET {column} = now() WHERE role = 'read'")

    assert isinstance(browser.server, TestServer)
    await browser.server.app[SERVICES].database.edit(work)
    assert await ends(response)
    with pytest.raises(TimeoutError):  # nobody else's does
        async with asyncio.timeout(0.5):
            assert await other.content.read() == b"the stream ended"
    other.close()


async def test_without_tokens_everybody_is_admin(web_client: Client) -> None:
    session = await (await web_client.get("/api/v1/session")).json()
    assert session == {"needs_token": False, "role": "admin", "name": "local"}
    assert (await web_client.post("/api/v1/login", json={"token": "whatever"})).status == 200
