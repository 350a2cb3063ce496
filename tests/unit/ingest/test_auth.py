"""Tokens: their form, the header, roles, and the bounded memory of checked ones."""

from __future__ import annotations

import base64
import uuid

import pytest

from ingest.auth import (
    CACHE_MAX,
    CACHE_SECONDS,
    UNKNOWN_SECONDS,
    Authenticator,
    Forbidden,
    Unauthenticated,
    hash_token,
    new_token,
    role_allows,
    token_of_header,
)
from ingest.store.housekeeping import FoundToken

TOKEN = "ingest_" + "A" * 43
"""Of the right form, and the same in every process of the test run."""


class Tokens:
    """A table of tokens that counts how often it is asked, and a clock to turn by hand."""

    def __init__(self, role: str = "write", valid_seconds: float | None = None) -> None:
        self.rows = {hash_token(TOKEN): FoundToken(uuid.uuid4(), "t", role, valid_seconds)}
        self.asked = 0
        self.now = 1000.0

    async def find(self, digest: bytes) -> FoundToken | None:
        self.asked += 1
        return self.rows.get(digest)

    def authenticator(self, *, required: bool = True) -> Authenticator:
        return Authenticator(self.find, required=required, clock=lambda: self.now)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    [bearer(TOKEN), f"bearer  {TOKEN}", basic("mlflow", TOKEN), basic(TOKEN, ""), basic(TOKEN, "x")],
)
def test_a_token_is_found_wherever_tools_put_it(header: str) -> None:
    assert token_of_header(header) == TOKEN


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        TOKEN,
        f"Digest {TOKEN}",
        "Basic !!!",
        "Basic /w==",
        bearer(TOKEN + "x"),
    ],
)
def test_anything_else_is_no_token(header: str | None) -> None:
    assert token_of_header(header) is None


def test_tokens_are_random_and_long() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(TOKEN.removeprefix("ingest_")) == 43  # 256 bits in base64


@pytest.mark.parametrize(
    ("role", "allowed"), [("write", {"write"}), ("read", {"read"}), ("admin", {"write", "read", "admin"})]
)
def test_roles(role: str, allowed: set[str]) -> None:
    assert {access for access in ("write", "read", "admin") if role_allows(role, access)} == allowed  # type: ignore[arg-type]


async def test_a_wrong_role_is_forbidden_and_a_wrong_token_unauthenticated() -> None:
    authenticator = Tokens("read").authenticator()

    assert (await authenticator.check(bearer(TOKEN), "read")).name == "t"
    with pytest.raises(Forbidden, match="has the role read; this takes write"):
        await authenticator.check(bearer(TOKEN), "write")
    with pytest.raises(Unauthenticated, match="unknown, expired or revoked"):
        await authenticator.check(bearer(new_token()), "read")
    with pytest.raises(Unauthenticated, match="needs a token"):
        await authenticator.check(None, "read")


async def test_nothing_is_asked_where_no_token_is_needed() -> None:
    tokens = Tokens()

    assert (await tokens.authenticator(required=False).check(None, "admin")).name == "local"
    assert (await tokens.authenticator().check(None, "open")).name == "local"
    assert tokens.asked == 0


async def test_a_revoked_token_works_for_a_few_seconds_at_most() -> None:
    tokens = Tokens()
    authenticator = tokens.authenticator()
    await authenticator.check(bearer(TOKEN), "write")
    tokens.rows.clear()

    tokens.now += CACHE_SECONDS - 0.1
    await authenticator.check(bearer(TOKEN), "write")
    tokens.now += 0.2
    with pytest.raises(Unauthenticated):
        await authenticator.check(bearer(TOKEN), "write")
    assert tokens.asked == 2


async def test_a_token_is_not_remembered_beyond_its_expiry() -> None:
    tokens = Tokens(valid_seconds=1.0)
    authenticator = tokens.authenticator()
    await authenticator.check(bearer(TOKEN), "write")
    tokens.rows.clear()

    tokens.now += 1.1
    with pytest.raises(Unauthenticated):
        await authenticator.check(bearer(TOKEN), "write")


async def test_an_unknown_token_is_looked_up_once_in_a_while_and_memory_is_bounded() -> None:
    tokens = Tokens()
    authenticator = tokens.authenticator()
    unknown = new_token()
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await authenticator.check(bearer(unknown), "write")
    assert tokens.asked == 1

    for _ in range(CACHE_MAX + 10):
        with pytest.raises(Unauthenticated):
            await authenticator.check(bearer(new_token()), "write")
    assert len(authenticator._unknown) == CACHE_MAX

    tokens.rows[hash_token(unknown)] = FoundToken(uuid.uuid4(), "new", "write", None)
    tokens.now += UNKNOWN_SECONDS + 0.1
    assert (await authenticator.check(bearer(unknown), "write")).name == "new"
