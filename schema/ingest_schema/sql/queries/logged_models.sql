-- Logged models (ingest/service/logged_models.py).

-- name: get_many
-- $1 model_id[]; in that order. Lists come as JSON texts, ready to be sent.
SELECT m.model_id, m.experiment_id, m.name, m.model_type, m.source_run_id, m.status, m.status_message, m.lifecycle,
       m.created_at_ms, m.updated_at_ms, e.artifact_location,
       (SELECT json_agg(json_build_object('key', p.key, 'value', p.value) ORDER BY p.key)
        FROM jsonb_each_text(m.params) AS p)::text AS params,
       (SELECT json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key)
        FROM jsonb_each_text(m.tags) AS t)::text AS tags,
       (SELECT json_agg(json_build_object('name', v.name, 'version', v.version::text) ORDER BY v.name, v.version)
        FROM model_versions AS v WHERE v.model_id = m.model_id)::text AS registrations,
       (SELECT json_agg(json_strip_nulls(json_build_object(
                   'key', p.key, 'value', p.value, 'timestamp', p.time_ms, 'step', p.step,
                   'model_id', p.model_id, 'run_id', replace(p.run_id::text, '-', ''),
                   'dataset_name', NULLIF(p.dataset_name, ''), 'dataset_digest', NULLIF(p.dataset_digest, '')))
                ORDER BY p.key, p.step, p.time_ms, p.value)
        FROM logged_model_metrics AS p WHERE p.model_id = m.model_id)::text AS metrics
FROM unnest($1::text[]) WITH ORDINALITY AS q (model_id, i)
JOIN logged_models AS m ON m.model_id = q.model_id
JOIN experiments AS e ON e.experiment_id = m.experiment_id
ORDER BY q.i;

-- name: place
-- $1 model_id: where its files are.
SELECT m.experiment_id, m.lifecycle, m.source_run_id, e.artifact_location
FROM logged_models AS m
JOIN experiments AS e ON e.experiment_id = m.experiment_id
WHERE m.model_id = $1;

-- name: create
-- No row: there is no such experiment, or it is not active. $1 model_id, $2 experiment_id, $3 name, $4 model_type,
-- $5 source_run_id, $6 params, $7 tags, both JSON objects as text, $8 now in ms.
INSERT INTO logged_models (model_id, experiment_id, name, model_type, source_run_id, params, tags, created_at_ms, updated_at_ms)
SELECT $1, e.experiment_id, $3, $4, $5, $6::text::jsonb, $7::text::jsonb, $8, $8
FROM experiments AS e
WHERE e.experiment_id = $2 AND e.lifecycle = 'active'
RETURNING model_id;

-- name: lock
-- $1 model_id; held to the end of the transaction.
SELECT lifecycle, params::text AS params, tags::text AS tags FROM logged_models WHERE model_id = $1 FOR UPDATE;

-- name: set_status
-- $1 model_id, $2 status, $3 now in ms.
UPDATE logged_models SET status = $2, updated_at_ms = $3 WHERE model_id = $1;

-- name: delete
-- $1 model_id, $2 now in ms.
UPDATE logged_models SET lifecycle = 'deleted', updated_at_ms = $2 WHERE model_id = $1;

-- name: set_tags
-- $1 model_id, $2 JSON object as text, $3 now in ms.
UPDATE logged_models SET tags = tags || $2::text::jsonb, updated_at_ms = $3 WHERE model_id = $1;

-- name: delete_tag
-- $1 model_id, $2 key, $3 now in ms.
UPDATE logged_models SET tags = tags - $2::text, updated_at_ms = $3 WHERE model_id = $1;

-- name: add_params
-- $1 model_id, $2 JSON object as text, $3 now in ms.
UPDATE logged_models SET params = params || $2::text::jsonb, updated_at_ms = $3 WHERE model_id = $1;

-- name: active_models
-- Those of $1 model_id[] that points can be logged to; a model can't be deleted for good meanwhile.
SELECT model_id FROM logged_models WHERE model_id = ANY ($1::text[]) AND lifecycle = 'active' FOR KEY SHARE;

-- name: add_points
-- Arrays: $1 model_id, $2 key, $3 step, $4 time_ms, $5 value, $6 run_id, $7 dataset_name, $8 dataset_digest.
INSERT INTO logged_model_metrics (model_id, key, step, time_ms, value, run_id, dataset_name, dataset_digest)
SELECT DISTINCT b.model_id, b.key, b.step, b.time_ms, b.value, b.run_id, b.dataset_name, b.dataset_digest
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[], $6::uuid[], $7::text[], $8::text[])
    AS b (model_id, key, step, time_ms, value, run_id, dataset_name, dataset_digest)
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
ON CONFLICT DO NOTHING;

-- name: bring
-- From elsewhere, with its id and times. A row comes back if it was not here, or is PENDING here and was changed since.
-- $1 experiment_id, then the columns.
INSERT INTO logged_models AS m (experiment_id, model_id, name, model_type, source_run_id, status, status_message, lifecycle,
                                created_at_ms, updated_at_ms, params, tags)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12::text::jsonb)
ON CONFLICT (model_id) DO UPDATE
SET status = excluded.status, status_message = excluded.status_message, lifecycle = excluded.lifecycle,
    updated_at_ms = excluded.updated_at_ms, params = m.params || excluded.params, tags = m.tags || excluded.tags
WHERE m.status = 'PENDING' AND m.lifecycle = 'active' AND m.updated_at_ms < excluded.updated_at_ms
RETURNING model_id;
