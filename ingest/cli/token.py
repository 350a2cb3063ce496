"""`ingest token create|list|revoke`."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from ingest.cli.common import (
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    fail,
    load,
    print_json,
    print_table,
    run,
)

if TYPE_CHECKING:
    from ingest.settings import Settings
    from ingest.store.housekeeping import Housekeeping, TokenRow

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke access tokens.")


class TokenRole(StrEnum):
    """What a token allows."""

    write = "write"
    read = "read"
    admin = "admin"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the token is for; shown in lists and logs.")],
    *,
    role: Annotated[TokenRole, typer.Option(help="write: send batches; read: query; admin: both and more.")],
    expires_in_days: Annotated[
        float | None, typer.Option(help="Days until it stops working; by default it never does.", min=0)
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, once: the database keeps only its hash."""
    from ingest.auth import hash_token, new_token
    from ingest_schema.ids import new_id

    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    token, token_id = new_token(), new_id()
    expires_at = None
    if expires_in_days is not None:
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=expires_in_days)

    async def work() -> None:
        async with _housekeeping(settings) as housekeeping:
            await housekeeping.create_token(token_id, name, role.value, hash_token(token), expires_at)

    run(settings, work())
    if as_json:
        print_json(
            {"token_id": token_id, "name": name, "role": role.value, "expires_at": expires_at, "token": token}
        )
    else:
        print(token)


@app.command("list")
def list_(
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List all tokens, revoked and expired ones too; --json has all the times."""
    settings = load(config, database_url=database_url, data_dir=data_dir).settings

    async def work() -> list[TokenRow]:
        async with _housekeeping(settings) as housekeeping:
            return await housekeeping.list_tokens()

    tokens = run(settings, work())
    if as_json:
        columns = (
            "token_id",
            "name",
            "role",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "is_valid",
        )
        print_json([{column: getattr(token, column) for column in columns} for token in tokens])
    else:
        shown = [
            {
                "token_id": token.token_id,
                "name": token.name,
                "role": token.role,
                "state": _state(token),
                "used": token.last_used_at and f"{token.last_used_at:%Y-%m-%d}",
            }
            for token in tokens
        ]
        print_table(("token_id", "name", "role", "state", "used"), shown)


def _state(token: TokenRow) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "valid" if token.is_valid else "expired"


@app.command()
def revoke(
    token: Annotated[
        str, typer.Argument(metavar="ID|NAME", help="A token's id, or the name of one or several.")
    ],
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a token stop working; services notice within seconds."""
    settings = load(config, database_url=database_url, data_dir=data_dir).settings

    async def work() -> list[tuple[UUID, str, str]]:
        async with _housekeeping(settings) as housekeeping:
            return await housekeeping.revoke_tokens(token)

    revoked = run(settings, work())
    if not revoked:
        fail(f"there is no valid token with the id or name {token!r}; ingest token list shows them")
    rows = [{"token_id": token_id, "name": name, "role": role} for token_id, name, role in revoked]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print(f"revoked {row['token_id']} {row['name']}")


@asynccontextmanager
async def _housekeeping(settings: Settings) -> AsyncIterator[Housekeeping]:
    from ingest.database import reach_database
    from ingest.migrations import check_schema
    from ingest.store.connect import connect
    from ingest.store.housekeeping import Housekeeping

    async with reach_database(settings) as url:
        async with connect(url, purpose="token") as connection:
            await check_schema(connection)
        async with Housekeeping.open(url) as housekeeping:
            yield housekeeping
