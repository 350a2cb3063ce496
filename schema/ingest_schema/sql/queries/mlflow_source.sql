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

-- name: dataset_inputs
-- $1 run_uuid.
SELECT i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source, d.dataset_schema, d.dataset_profile
FROM inputs AS i
JOIN datasets AS d ON d.dataset_uuid = i.source_id
WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = $1
ORDER BY d.name, d.digest;

-- name: input_tags
-- $1 input_uuid.
SELECT name AS key, value FROM input_tags WHERE input_uuid = $1;

-- name: model_inputs
-- $1 run_uuid. From MLflow 3 on, as all that is said of logged models.
SELECT destination_id AS model_id FROM inputs
WHERE source_type = 'RUN_INPUT' AND source_id = $1 AND destination_type = 'MODEL_INPUT'
ORDER BY destination_id;

-- name: model_outputs
-- $1 run_uuid.
SELECT destination_id AS model_id, step FROM inputs
WHERE source_type = 'RUN_OUTPUT' AND source_id = $1 AND destination_type = 'MODEL_OUTPUT'
ORDER BY step, destination_id;

-- name: logged_models
-- $1 experiment_id.
SELECT model_id, name, artifact_location, creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage, model_type,
       source_run_id, status_message
FROM logged_models WHERE experiment_id = $1 ORDER BY creation_timestamp_ms, model_id;

-- name: logged_model_params
-- $1 model_id.
SELECT param_key AS key, param_value AS value FROM logged_model_params WHERE model_id = $1;

-- name: logged_model_tags
-- $1 model_id.
SELECT tag_key AS key, tag_value AS value FROM logged_model_tags WHERE model_id = $1;

-- name: logged_model_metrics
-- $1 model_id.
SELECT metric_name, metric_timestamp_ms, metric_step, metric_value, run_id, dataset_name, dataset_digest
FROM logged_model_metrics WHERE model_id = $1 AND metric_value IS NOT NULL
ORDER BY metric_name, metric_step, metric_timestamp_ms, run_id;

-- name: registered_models
SELECT name, creation_time, last_updated_time, description FROM registered_models ORDER BY name;

-- name: registered_model_tags
-- $1 name.
SELECT key, value FROM registered_model_tags WHERE name = $1;

-- name: registered_model_aliases
-- $1 name.
SELECT alias AS key, version AS value FROM registered_model_aliases WHERE name = $1;

-- name: model_versions
-- All columns: older releases have not all of them.
SELECT * FROM model_versions ORDER BY name, version;

-- name: model_version_tags
-- $1 name, $2 version.
SELECT key, value FROM model_version_tags WHERE name = $1 AND version = $2;

-- name: sqlite_tables
SELECT name FROM sqlite_master WHERE type = 'table';

-- name: postgres_tables
SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ANY (current_schemas(false));
