-- What runs read and made (ingest/service/datasets.py).

-- name: add_datasets
-- $1 experiment_id, then arrays: $2 name, $3 digest, $4 source_type, $5 source, $6 schema, $7 profile.
INSERT INTO datasets (experiment_id, name, digest, source_type, source, schema, profile)
SELECT $1, b.name, b.digest, b.source_type, b.source, b.schema, b.profile
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS b (name, digest, source_type, source, schema, profile)
ORDER BY b.name COLLATE "C", b.digest COLLATE "C"
ON CONFLICT (experiment_id, name, digest) DO NOTHING;

-- name: add_run_datasets
-- $1 run_id, then arrays: $2 name, $3 digest, $4 tags as JSON texts. One that is there already stays as it is.
INSERT INTO run_datasets (run_id, name, digest, tags)
SELECT $1, b.name, b.digest, b.tags::jsonb
FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS b (name, digest, tags, i)
ORDER BY b.i
ON CONFLICT (run_id, name, digest) DO NOTHING;

-- name: add_run_models
-- $1 run_id, $2 direction, $3 model_id[], $4 step[].
INSERT INTO run_models (run_id, direction, model_id, step)
SELECT $1, $2, b.model_id, b.step
FROM unnest($3::text[], $4::bigint[]) WITH ORDINALITY AS b (model_id, step, i)
ORDER BY b.i
ON CONFLICT (run_id, direction, model_id) DO UPDATE SET step = excluded.step;

-- name: lock_run
-- $1 run_id; held to the end of the transaction.
SELECT lifecycle, experiment_id FROM runs WHERE run_id = $1 FOR UPDATE;

-- name: summaries
-- $1 experiment_id[]: each dataset once for each context in which a run read it. At most $2.
SELECT DISTINCT r.experiment_id, i.name, i.digest, i.context
FROM runs AS r
JOIN run_datasets AS i ON i.run_id = r.run_id
WHERE r.experiment_id = ANY ($1::bigint[]) AND r.lifecycle = 'active'
ORDER BY r.experiment_id, i.name, i.digest, i.context
LIMIT $2;
