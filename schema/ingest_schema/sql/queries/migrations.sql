-- The record that the runner of migrations keeps (ingest/migrations.py).

-- name: create_record
-- Runs before every migration, under the runner's lock.
CREATE SCHEMA IF NOT EXISTS ingest;
CREATE TABLE IF NOT EXISTS ingest.schema_migrations (
    number     int PRIMARY KEY,
    phase      text NOT NULL CHECK (phase IN ('pre', 'post')),
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT current_user
);
COMMENT ON TABLE ingest.schema_migrations IS 'Migrations applied to this database, with the SHA-256 of each file.';

-- name: has_record
-- Whether this database was ever migrated by us.
SELECT to_regclass('ingest.schema_migrations') IS NOT NULL;

-- name: read_applied
-- What was applied, in order.
SELECT number, phase, name, checksum FROM ingest.schema_migrations ORDER BY number;

-- name: record_applied
-- $1 number, $2 phase, $3 name, $4 SHA-256 of the file; in the migration's own transaction.
INSERT INTO ingest.schema_migrations (number, phase, name, checksum) VALUES ($1, $2, $3, $4);

-- name: set_lock_timeout
-- $1 for this transaction, such as 60s; a migration sets its own afterwards.
SELECT set_config('lock_timeout', $1, true);

-- name: take_turn
-- $1 the lock's number. Held to the end of the transaction, so safe behind a connection pooler.
SELECT pg_advisory_xact_lock($1);

-- name: server_facts
-- Whether this server is one that we can use.
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding;
