"""`ingest reader`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ingest.cli.common import AsJson, Config, DatabaseUrl, DataDir, fail, load, print_json, run

if TYPE_CHECKING:
    from ingest.settings import Settings
    from ingest.store.reader import ReaderAccess


def reader(
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Print the URL by which psql, pandas and Grafana log in to read: it holds a password.

    The role was made by `ingest migrate`, or is that of reader_database_url; that it can read, and nothing else, is checked here.
    """
    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    access = run(settings, _access(settings))
    if access.url is None:
        fail(access.problem)
    if as_json:
        print_json({"url": access.url, "user": urlsplit(access.url).username})
    else:
        print(access.url)


async def _access(settings: Settings) -> ReaderAccess:
    from ingest.database import reach_database
    from ingest.store.connect import connect
    from ingest.store.reader import find_reader

    async with reach_database(settings) as url, connect(url, purpose="reader") as connection:
        return await find_reader(connection, url, settings.reader_database_url)
