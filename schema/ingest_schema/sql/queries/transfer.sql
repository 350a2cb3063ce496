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
SELECT run_id, experiment_id, name, user_name, status, lifecycle, parent_run_id, start_time_ms, end_time_ms
FROM runs WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id;

-- name: export_params
SELECT run_id, key, value FROM params WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, key;

-- name: export_tags
SELECT run_id, key, value FROM tags WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, key;

-- name: export_writers
SELECT run_id, writer_id, last_seq, points, rank, world_size, local_rank, host, pid, client, attempt, resume_from_step,
       started_at_ms, ended_at_ms, stats::text AS stats
FROM writers WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, writer_id;

-- name: export_run_datasets
SELECT run_id, name, digest, tags::text AS tags FROM run_datasets WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, name, digest;

-- name: export_run_models
SELECT run_id, direction, model_id, step
FROM run_models WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, direction, model_id;

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
-- A row comes back if it was not there. $1 … as the columns.
INSERT INTO runs (run_id, experiment_id, name, user_name, status, lifecycle, parent_run_id, start_time_ms, end_time_ms, deleted_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $6 = 'deleted' THEN now() END)
ON CONFLICT (run_id) DO NOTHING
RETURNING run_id;

-- name: import_writers
-- $1 run_id, then a column each.
INSERT INTO writers (run_id, writer_id, last_seq, points, rank, world_size, local_rank, host, pid, client, attempt,
                     resume_from_step, started_at_ms, ended_at_ms, stats)
SELECT $1, w.*
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::text[], $9::bigint[], $10::text[],
            $11::int[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[]::jsonb[]) AS w;
