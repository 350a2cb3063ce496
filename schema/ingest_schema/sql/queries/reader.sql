-- The role that may only read (ingest/store/reader.py).

-- name: database_name
SELECT current_database();

-- name: stored_password
-- $1 the secret's name.
SELECT value FROM ingest.secrets WHERE name = $1;

-- name: store_password
-- $1 the secret's name, $2 the password; the first one stays.
INSERT INTO ingest.secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;

-- name: set_names
-- $1 the role, $2 the password; for make_and_grant, in the same transaction.
SELECT set_config('ingest.reader_role', $1, true), set_config('ingest.reader_password', $2, true);

-- name: may_read
SELECT has_table_privilege('ingest.runs', 'SELECT');

-- name: unfit
-- A role is unfit if it can read our secrets or write our data, by itself or by becoming a role it belongs to.
SELECT candidate.rolname
FROM pg_roles AS candidate
WHERE pg_has_role(current_user, candidate.oid, 'MEMBER')
  AND (candidate.rolsuper
       OR candidate.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
                                'pg_write_server_files', 'pg_execute_server_program')
       OR has_table_privilege(candidate.oid, 'ingest.secrets', 'SELECT')
       OR has_table_privilege(candidate.oid, 'ingest.tokens', 'SELECT')
       OR has_table_privilege(candidate.oid, 'ingest.metric_chunks', 'INSERT'))
LIMIT 1;

-- name: make_and_grant
-- The reader role: may log in and read the public tables and views, nothing else. Runs after each migration run, in
-- its transaction, and is idempotent. Names and the password come as settings of the transaction, so that no
-- statement is put together from text:
--   ingest.reader_role      the role; made here if it does not exist and the current user may make roles
--   ingest.reader_password  for a role made here; empty: leave the role's login alone
-- What follows sees only tables and views named below: a new one is private until it is added here.
DO $$
DECLARE
    reader   text := current_setting('ingest.reader_role');
    password text := current_setting('ingest.reader_password');
    relation text;
BEGIN
    IF password <> '' THEN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = reader) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', reader);
        END IF;
        EXECUTE format('ALTER ROLE %I PASSWORD %L', reader, password);
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = ingest', reader, current_database());
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET default_transaction_read_only = on', reader, current_database());
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET statement_timeout = %L', reader, current_database(), '60s');
    END IF;
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA ingest FROM %I', reader);
    EXECUTE format('GRANT USAGE ON SCHEMA ingest TO %I', reader);
    FOREACH relation IN ARRAY ARRAY[
        'experiments', 'experiment_tags', 'runs', 'params', 'tags', 'writers', 'metric_chunks', 'packed_chunks',
        'series', 'retention_rules',
        'datasets', 'run_datasets', 'run_models', 'logged_models', 'logged_model_metrics', 'registered_models',
        'model_versions', 'model_aliases', 'metrics', 'latest_metrics', 'metric_summaries',
        'runs_wide', 'sql_contract'
    ] LOOP
        EXECUTE format('GRANT SELECT ON ingest.%I TO %I', relation, reader);
    END LOOP;
END
$$;
