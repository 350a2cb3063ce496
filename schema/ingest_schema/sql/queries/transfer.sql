-- Export and import (ingest/transfer). Exports read in one REPEATABLE READ snapshot; every query on a run's tables names run_id.

-- name: export_experiments
-- Of $1 experiment_id[].
SELECT experiment_id, name, lifecycle, created_at_ms, updated_at_ms
FROM experiments WHERE experiment_id = ANY ($1::bigint[]) ORDER BY experiment_id;

-- name: export_experiment_tags
SELECT experiment_id, key, value
FROM experiment_tags WHERE experiment_id = ANY ($1::bigint[]) ORDER BY experiment_id, key;

-- name: export_datasets
SELECT experiment_id, name, digest, source_type, source, schema, profile
FROM datasets WHERE experiment_id = ANY ($1::bigint[]) ORDER BY experiment_id, name, digest;

-- name: export_retention_rules
SELECT experiment_id, delete_after_days, thin_after_days, thin_to, keep_tag
FROM retention_rules WHERE experiment_id = ANY ($1::bigint[]) ORDER BY experiment_id;

-- name: model_ids
-- Logged models of the experiments $1, made by the runs $2 (hexadecimal), or by any where it is NULL.
SELECT model_id FROM logged_models
WHERE experiment_id = ANY ($1::bigint[]) AND ($2::text[] IS NULL OR replace(source_run_id, '-', '') = ANY ($2))
ORDER BY experiment_id, model_id;

-- name: export_logged_models
-- $1 model_id[].
SELECT experiment_id, model_id, name, model_type, source_run_id, status, status_message, lifecycle, created_at_ms, updated_at_ms,
       params::text AS params, tags::text AS tags
FROM logged_models WHERE model_id = ANY ($1::text[]) ORDER BY experiment_id, model_id;

-- name: export_logged_model_metrics
-- NaN sorts after all numbers; those of other bits come as they are, and the key of the table takes them for one.
SELECT m.experiment_id, l.model_id, l.key, l.step, l.time_ms, l.value, l.run_id, l.dataset_name, l.dataset_digest
FROM logged_model_metrics AS l
JOIN logged_models AS m USING (model_id)
WHERE l.model_id = ANY ($1::text[])
ORDER BY m.experiment_id, l.model_id, l.key, l.step, l.time_ms, l.value, l.run_id, l.dataset_name, l.dataset_digest;

-- name: export_registered_models
-- Those with a version of the runs $1 (hexadecimal) or the logged models $2, or all where both are NULL. So the next two.
SELECT r.name, r.description, r.last_version, r.created_at_ms, r.updated_at_ms, r.tags::text AS tags
FROM registered_models AS r
WHERE ($1::text[] IS NULL AND $2::text[] IS NULL)
   OR EXISTS (SELECT 1 FROM model_versions AS v
              WHERE v.name = r.name AND (replace(v.run_id, '-', '') = ANY ($1) OR v.model_id = ANY ($2)))
ORDER BY r.name;

-- name: export_model_versions
SELECT name, version, description, user_name, source, storage_location, run_id, run_link, model_id, stage, created_at_ms, updated_at_ms,
       tags::text AS tags
FROM model_versions
WHERE ($1::text[] IS NULL AND $2::text[] IS NULL) OR replace(run_id, '-', '') = ANY ($1) OR model_id = ANY ($2)
ORDER BY name, version;

-- name: export_model_aliases
SELECT a.name, a.alias, a.version
FROM model_aliases AS a
JOIN model_versions AS v USING (name, version)
WHERE ($1::text[] IS NULL AND $2::text[] IS NULL) OR replace(v.run_id, '-', '') = ANY ($1) OR v.model_id = ANY ($2)
ORDER BY a.name, a.alias;

-- name: all_experiment_ids
SELECT experiment_id FROM experiments ORDER BY experiment_id;

-- name: all_run_ids
-- Of the experiments $1, or of all where it is NULL.
SELECT run_id FROM runs WHERE $1::bigint[] IS NULL OR experiment_id = ANY ($1) ORDER BY run_id;

-- name: experiments_of_runs
-- $1 run_id[].
SELECT DISTINCT experiment_id FROM runs WHERE run_id = ANY ($1::uuid[]) ORDER BY experiment_id;

-- name: export_runs
-- $1 run_id[].
SELECT run_id, experiment_id, name, user_name, status, lifecycle, parent_run_id, start_time_ms, end_time_ms,
       (extract(epoch FROM thinned_at) * 1000000)::bigint AS thinned_at_us
FROM runs WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id;

-- name: export_params
SELECT run_id, key, value FROM params WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, key;

-- name: export_tags
SELECT run_id, key, value FROM tags WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, key;

-- name: export_writers
SELECT run_id, writer_id, last_seq, points, rank, world_size, local_rank, host, pid, client, attempt, resume_from_step,
       started_at_ms, ended_at_ms, stats::text AS stats, end_status
FROM writers WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, writer_id;

-- name: export_run_datasets
SELECT run_id, name, digest, tags::text AS tags FROM run_datasets WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, name, digest;

-- name: export_run_models
SELECT run_id, direction, model_id, step
FROM run_models WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, direction, model_id;

-- name: export_thinned_series
-- What was logged of the metrics of thinned runs, which their points don't say any more. $1 run_id[].
SELECT s.run_id, s.key, s.n, s.non_finite, s.first_step, s.first_time_ms, s.first_value, s.last_step, s.last_time_ms, s.last_value,
       s.min_value, s.max_value, s.min_step, s.max_step, s.sum_value
FROM series AS s
JOIN runs AS r USING (run_id)
WHERE s.run_id = ANY ($1::uuid[]) AND r.thinned_at IS NOT NULL
ORDER BY s.run_id, s.key;

-- name: chunks_of_run
-- Where the points of $1 run_id lie: every chunk, by metric and writer, within those by the order of arrival.
SELECT key, writer_id, seq, 0 AS part, ctid, false AS is_packed, n, lo_step, hi_step
FROM metric_chunks WHERE run_id = $1
UNION ALL
SELECT key, writer_id, seq, part, ctid, true, n, lo_step, hi_step
FROM packed_chunks WHERE run_id = $1
ORDER BY key, writer_id, seq, is_packed DESC, part, ctid;

-- name: points_of_chunks
-- The points of $1 run_id in the chunks at $2 ctid[], elements of arrays without the arrays' headers, in whatever order; `tids`
-- tells which.
SELECT string_agg(tidsend(ctid), '') AS tids,
       string_agg(int4send(n), '') AS n,
       string_agg(substr(array_send(steps), 21), '') AS steps,
       string_agg(substr(array_send(times_ms), 21), '') AS times_ms,
       string_agg(substr(array_send("values"), 21), '') AS "values"
FROM metric_chunks WHERE run_id = $1 AND ctid = ANY ($2::tid[]);

-- name: points_of_packs
-- Likewise of packed chunks.
SELECT string_agg(tidsend(ctid), '') AS tids,
       string_agg(int4send(n), '') AS n,
       string_agg(int8send(lo_step), '') AS lo_step,
       string_agg(int8send(COALESCE(step_gap, 0)), '') AS step_gap,
       string_agg(boolsend(step_gap IS NULL), '') AS has_steps,
       string_agg(int8send(lo_time_ms), '') AS lo_time_ms,
       string_agg(int8send(hi_time_ms), '') AS hi_time_ms,
       string_agg(boolsend(time_residuals IS NULL), '') AS has_times,
       COALESCE(string_agg(substr(array_send(steps), 21), ''), '') AS steps,
       COALESCE(string_agg(substr(array_send(times_ms), 21), ''), '') AS times_ms,
       COALESCE(string_agg(substr(array_send(time_residuals), 21), ''), '') AS time_residuals,
       string_agg(substr(array_send("values"), 21), '') AS "values"
FROM packed_chunks WHERE run_id = $1 AND ctid = ANY ($2::tid[]);

-- name: experiments_by_name
-- $1 name[].
SELECT experiment_id, name FROM experiments WHERE name = ANY ($1::text[]);

-- name: import_experiment
-- Under its own number if that is free, else under the next one; no row: the name is taken. $1 experiment_id, $2 name,
-- $3 lifecycle, $4 created_at_ms, $5 updated_at_ms.
WITH free AS (
    SELECT CASE WHEN EXISTS (SELECT 1 FROM experiments WHERE experiment_id = $1)
                THEN nextval(pg_get_serial_sequence('experiments', 'experiment_id')) ELSE $1::bigint END AS experiment_id
)
INSERT INTO experiments (experiment_id, name, lifecycle, created_at_ms, updated_at_ms)
SELECT f.experiment_id, $2, $3, $4, $5 FROM free AS f
ON CONFLICT (name) DO NOTHING
RETURNING experiment_id;

-- name: adopt_experiment
-- One that is there by this name: it is as old as the older of both; one that nobody has used yet becomes the imported one,
-- as Default does on a new server. $1 experiment_id, $2 lifecycle, $3 created_at_ms, $4 updated_at_ms.
UPDATE experiments AS e
SET created_at_ms = LEAST(e.created_at_ms, $3),
    updated_at_ms = CASE WHEN u.is_unused THEN $4 ELSE GREATEST(e.updated_at_ms, $4) END,
    lifecycle = CASE WHEN u.is_unused THEN $2 ELSE e.lifecycle END
FROM (
    SELECT x.updated_at_ms = x.created_at_ms
           AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.experiment_id = x.experiment_id) AS is_unused
    FROM experiments AS x WHERE x.experiment_id = $1
) AS u
WHERE e.experiment_id = $1;

-- name: skip_experiment_ids
-- The next experiment made gets a number above all that are there.
SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'), GREATEST(max(experiment_id), 1)) FROM experiments;

-- name: import_experiment_tags
-- $1 experiment_id, $2 key[], $3 value[]; a tag that is there stays.
INSERT INTO experiment_tags (experiment_id, key, value)
SELECT $1, t.key, t.value FROM unnest($2::text[], $3::text[]) AS t (key, value)
ON CONFLICT DO NOTHING;

-- name: import_datasets
-- One data set of an experiment; one that is there stays.
INSERT INTO datasets (experiment_id, name, digest, source_type, source, schema, profile)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING;

-- name: run_exists
SELECT EXISTS (SELECT 1 FROM runs WHERE run_id = $1);

-- name: lift_mark
-- A run that was deleted for good and is imported again may be written to again. $1 run_id.
DELETE FROM gone_runs WHERE run_id = $1 AND is_done;

-- name: import_run
-- A row comes back if it was not there. $1 … as the columns, $10 when it was thinned in microseconds.
INSERT INTO runs (run_id, experiment_id, name, user_name, status, lifecycle, parent_run_id, start_time_ms, end_time_ms, deleted_at,
                  thinned_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $6 = 'deleted' THEN now() END,
        timestamptz 'epoch' + $10::bigint * interval '1 microsecond')
ON CONFLICT (run_id) DO NOTHING
RETURNING run_id;

-- name: import_writers
-- $1 run_id, then a column each; $17 when the run was thinned: a writer that was heard of later would have it thinned again.
INSERT INTO writers (run_id, writer_id, last_seq, points, rank, world_size, local_rank, host, pid, client, attempt,
                     resume_from_step, started_at_ms, ended_at_ms, stats, end_status, heartbeat_at)
SELECT $1, w.*, COALESCE(timestamptz 'epoch' + $17::bigint * interval '1 microsecond', now())
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::text[], $9::bigint[], $10::text[],
            $11::int[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[]::jsonb[], $16::text[]) AS w;

-- name: import_thinned_series
-- A metric of a run that was thinned, as it was logged. $1 run_id, then the columns.
UPDATE series
SET n = $3, non_finite = $4, first_step = $5, first_time_ms = $6, first_value = $7, last_step = $8, last_time_ms = $9, last_value = $10,
    min_value = $11, max_value = $12, min_step = $13, max_step = $14, sum_value = $15
WHERE run_id = $1 AND key = $2;

-- name: import_retention_rules
-- One that is there stays. $1 experiment_id, then the columns.
INSERT INTO retention_rules (experiment_id, delete_after_days, thin_after_days, thin_to, keep_tag)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING;

-- name: model_exists
SELECT EXISTS (SELECT 1 FROM logged_models WHERE model_id = $1);
