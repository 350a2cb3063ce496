-- What `ingest import mlflow` reads from the database of an MLflow server, SQLite or PostgreSQL: these are MLflow's tables, not ours.

-- name: experiments
SELECT experiment_id, name, lifecycle_stage FROM experiments ORDER BY experiment_id;

-- name: experiment_tags
-- $1 experiment_id.
SELECT key, value FROM experiment_tags WHERE experiment_id = $1;

-- name: runs
-- $1 experiment_id.
SELECT run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri
FROM runs WHERE experiment_id = $1 ORDER BY start_time, run_uuid;

-- name: params
-- $1 run_uuid.
SELECT key, value FROM params WHERE run_uuid = $1;

-- name: tags
-- $1 run_uuid.
SELECT key, value FROM tags WHERE run_uuid = $1;

-- name: metrics
-- $1 run_uuid.
SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = $1 ORDER BY key, timestamp, step, value;
