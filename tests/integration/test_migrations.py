"""The runner of migrations and the reader role, on the bundled PostgreSQL and on the one of a user."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from ingest.bench.ports import free_port
from ingest.migrations import MigrationError, SchemaMismatch, check_schema, migrate, read_state
from ingest.store.connect import DatabaseRefused, connect, wait_until_usable
from ingest.store.errors import DatabaseUnavailable
from ingest.store.reader import default_role_name, find_reader, with_login
from ingest_schema.sql import Migration, migrations
from tests.conftest import new_database, run_apart, with_database

ONE = Migration(1, "pre", "one", "CREATE SCHEMA IF NOT EXISTS ingest; CREATE TABLE ingest.one (x int)")
TWO = Migration(2, "post", "two", "ALTER TABLE ingest.one ADD COLUMN y int")
BROKEN = Migration(2, "pre", "broken", "CREATE TABLE ingest.half (x int); SELECT 1 / 0")


@pytest.fixture
def fresh_url(server_url: str) -> Iterator[str]:
    with new_database(server_url) as url:
        yield url


async def ask(url: str, query: str, *arguments: Any) -> Any:
    async with connect(url, purpose="test") as connection:
        return await connection.fetchval(query, *arguments)


async def test_the_release_applies_once_and_then_has_nothing_to_do(fresh_url: str) -> None:
    planned = await migrate(fresh_url, dry_run=True)
    first = await migrate(fresh_url)
    second = await migrate(fresh_url)

    assert planned.applied == first.applied == migrations()
    assert (planned.version, first.version, second.applied) == (0, migrations()[-1].version, ())
    async with connect(fresh_url, purpose="test") as connection:
        assert (await check_schema(connection)).pending == ()


async def test_phases_are_applied_apart(fresh_url: str) -> None:
    first = await migrate(fresh_url, migrations=[ONE, TWO], phases=("pre",))
    rest = await migrate(fresh_url, migrations=[ONE, TWO])

    assert (first.applied, rest.applied) == ((ONE,), (TWO,))


async def test_a_failing_migration_leaves_nothing_and_keeps_the_earlier_ones(fresh_url: str) -> None:
    with pytest.raises(MigrationError, match="0002_pre_broken: division by zero"):
        await migrate(fresh_url, migrations=[ONE, BROKEN])

    assert await ask(fresh_url, "SELECT to_regclass('ingest.half') IS NULL")
    assert await ask(fresh_url, "SELECT max(number) FROM ingest.schema_migrations") == 1


async def test_an_edited_file_is_an_error(fresh_url: str) -> None:
    await migrate(fresh_url, migrations=[ONE])

    with pytest.raises(MigrationError, match=r"0001_pre_one\.sql is not the file that was applied"):
        await migrate(fresh_url, migrations=[ONE._replace(sql=ONE.sql + " ")])


async def test_runners_take_turns(fresh_url: str) -> None:
    """Four services that start at once on an empty database apply each file once, and none of them fails."""
    reports = await asyncio.gather(*(migrate(fresh_url, migrations=[ONE, TWO]) for _ in range(4)))

    assert sorted(migration for report in reports for migration in report.applied) == [ONE, TWO]


async def test_a_database_that_lacks_a_pre_migration_is_refused_with_the_command(fresh_url: str) -> None:
    async with connect(fresh_url, purpose="test") as connection:
        with pytest.raises(SchemaMismatch, match=r"lacks 0001_pre_.*; run: ingest migrate"):
            await check_schema(connection)


async def test_pending_post_and_newer_pre_migrations_are_fine_and_a_newer_post_is_not(fresh_url: str) -> None:
    newer = Migration(3, "pre", "newer", "SELECT 1")
    await migrate(fresh_url, migrations=[ONE, newer])

    async with connect(fresh_url, purpose="test") as connection:
        assert (await read_state(connection, [ONE, TWO])).problem is None
        await migrate(fresh_url, migrations=[ONE, TWO, newer])
        problem = (await read_state(connection, [ONE])).problem
    assert problem is not None
    assert "newer release" in problem


async def test_the_reader_reads_what_is_public_and_nothing_else(fresh_url: str) -> None:
    await migrate(fresh_url)
    async with connect(fresh_url, purpose="test") as connection:
        access = await find_reader(connection, fresh_url, None)
    assert access.problem is None
    assert access.url is not None
    assert access.url not in repr(access)

    async with connect(access.url, purpose="test") as reader:
        assert await reader.fetchval("SELECT count(*) FROM metrics") == 0
        for relation in ("tokens", "secrets", "schema_migrations"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(f"SELECT * FROM ingest.{relation}")
        await reader.execute("SET default_transaction_read_only = off")
        for statement in (
            "INSERT INTO experiments (name, created_at_ms, updated_at_ms) VALUES ('x', 0, 0)",
            "DELETE FROM runs",
            "CREATE TABLE ingest.mine (x int)",
            "SELECT set_config('role', 'postgres', false)",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY runs TO PROGRAM 'true'",
            "ALTER ROLE current_user SUPERUSER",
        ):
            with pytest.raises(
                (
                    asyncpg.InsufficientPrivilegeError,
                    asyncpg.UndefinedObjectError,
                    asyncpg.InvalidParameterValueError,
                )
            ):
                await reader.execute(statement)


async def test_without_the_right_to_make_roles_sql_is_off_and_a_role_of_the_users_serves(
    postgres15: str,
) -> None:
    """The owner of a database on a managed server may often not make roles."""
    async with connect(postgres15, purpose="test") as admin:
        await admin.execute("CREATE ROLE poor LOGIN PASSWORD 'p'; CREATE ROLE given LOGIN PASSWORD 'g'")
    try:
        with new_database(postgres15) as url:
            await ask(url, "SELECT 1")
            async with connect(url, purpose="test") as admin:
                name = await admin.fetchval("SELECT current_database()")
                await admin.execute(f"ALTER DATABASE {name} OWNER TO poor")
            poor, given = with_login(url, "poor", "p"), with_login(url, "given", "g")

            report = await migrate(poor)
            assert report.reader is not None
            assert report.reader.problem is not None
            assert f'CREATE ROLE "{name}_reader"' in report.reader.problem
            async with connect(poor, purpose="test") as connection:
                assert (await find_reader(connection, poor, None)).url is None

                await migrate(poor, reader_role="given")
                assert (await find_reader(connection, poor, given)).url == given
                problem = (await find_reader(connection, poor, poor)).problem
                assert problem is not None
                assert "can do more than read" in problem
    finally:
        async with connect(postgres15, purpose="test") as admin:
            await admin.execute("DROP ROLE poor; DROP ROLE given")


def test_a_long_database_name_still_gives_a_role_of_its_own() -> None:
    names = {default_role_name("d" * 60 + str(number)) for number in range(3)}

    assert len(names) == 3
    assert all(len(name) <= 63 for name in names)


async def test_a_server_that_is_away_is_tried_for_a_bounded_time() -> None:
    with pytest.raises(DatabaseUnavailable, match="tried for"):
        await wait_until_usable(f"postgresql://u@127.0.0.1:{free_port()}/x", timeout=0.5)


async def test_a_wrong_password_or_name_is_not_tried_again(postgres15: str) -> None:
    for url in (with_login(postgres15, "admin", "wrong"), with_database(postgres15, "missing")):
        with pytest.raises(DatabaseRefused) as caught:
            await wait_until_usable(url, timeout=30)
        assert "s3cret" not in str(caught.value)


def test_only_utf8_will_do(bundled_postgres: str) -> None:
    async def make() -> None:
        async with connect(bundled_postgres, purpose="test") as connection:
            await connection.execute(
                "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc"
            )
        try:
            with pytest.raises(DatabaseRefused, match="encoding is SQL_ASCII"):
                await wait_until_usable(with_database(bundled_postgres, "ascii"), timeout=60)
        finally:
            async with connect(bundled_postgres, purpose="test") as connection:
                await connection.execute("DROP DATABASE ascii WITH (FORCE)")

    run_apart(make)
