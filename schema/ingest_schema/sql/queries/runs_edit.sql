-- Runs, changed from outside their own stream (ingest/service/runs.py).

-- name: create
-- No row: there is no such experiment, or it is not active. $1 run_id, $2 experiment_id, $3 name, $4 user_name, $5 parent_run_id,
-- $6 start_time_ms.
INSERT INTO runs (run_id, experiment_id, name, user_name, parent_run_id, start_time_ms)
SELECT $1, e.experiment_id, $3, $4, $5, $6
FROM experiments AS e
WHERE e.experiment_id = $2 AND e.lifecycle = 'active'
RETURNING run_id;

-- name: lock
-- $1 run_id; held to the end of the transaction.
SELECT lifecycle, name FROM runs WHERE run_id = $1 FOR UPDATE;

-- name: update
-- NULL leaves a column as it is. $1 run_id, $2 status, $3 end_time_ms, $4 name.
UPDATE runs
SET status = COALESCE($2, status), end_time_ms = COALESCE($3, end_time_ms), name = COALESCE($4, name),
    heartbeat_at = now()
WHERE run_id = $1;

-- name: set_lifecycle
-- $1 run_id, $2 lifecycle.
UPDATE runs
SET lifecycle = $2, deleted_at = CASE WHEN $2 = 'deleted' THEN now() END
WHERE run_id = $1 AND lifecycle <> $2;

-- name: set_name
-- $1 run_id, $2 name.
UPDATE runs SET name = $2 WHERE run_id = $1;

-- name: get_tag
-- $1 run_id, $2 key.
SELECT value FROM tags WHERE run_id = $1 AND key = $2;

-- name: delete_tag
-- A row comes back if it was there. $1 run_id, $2 key. The tag of the parent is a column, too, which a run of our own client has alone.
WITH parent AS (
    UPDATE runs SET parent_run_id = NULL
    WHERE run_id = $1 AND $2::text = 'mlflow.parentRunId' AND parent_run_id IS NOT NULL
    RETURNING $2::text AS key
), tag AS (
    DELETE FROM tags WHERE run_id = $1 AND key = $2::text RETURNING key
)
SELECT key FROM parent UNION SELECT key FROM tag;

-- name: unseal
-- $1 run_id; its row is locked. See migration 0003.
SELECT unseal(ARRAY[$1::uuid]);
